"""Reads Hugging Face ``config.json`` files of open models into :class:`dougong.catalog.models.Model`.

Every matrix is listed, so that parameter counts are exact; what is not understood is refused by name. Start
at :func:`read_config`. Nothing is executed and nothing is fetched.
"""

from dougong.catalog.hf.read import read_config, read_config_file

__all__ = ["read_config", "read_config_file"]
