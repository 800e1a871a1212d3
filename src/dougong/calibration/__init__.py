"""How fast real operators run against the datasheet: measured facts, closed forms, the fit between them.

Imports nothing above :mod:`dougong.ops`; numpy is the only third party. Start at :class:`Parameters` (what
was fitted, with its residuals) and :mod:`dougong.calibration.forms` (seconds of an operator from its counts).
"""

from dougong.calibration.parameters import Parameters, Residual, load_ranges, load_residuals

__all__ = ["Parameters", "Residual", "load_ranges", "load_residuals"]
