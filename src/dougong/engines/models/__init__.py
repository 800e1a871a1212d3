"""Where models come from: ``file:``, ``hf:``, ``modelscope:``, ``pypi:``; kept in a cache with their hashes."""

from dougong.engines.models.fetch import Progress
from dougong.engines.models.resolve import DEFAULT, resolve

__all__ = ["DEFAULT", "Progress", "resolve"]
