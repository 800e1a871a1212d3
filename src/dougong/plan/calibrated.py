"""Whose efficiencies a system is priced with: its own machine's, where it was measured, else what all chips share."""

from __future__ import annotations

from collections.abc import Mapping

from dougong.calibration import Parameters
from dougong.calibration.engines import EngineClass, engine_class
from dougong.calibration.local import Local, read_local
from dougong.plan.records import Records


def locals_of(catalog: Records) -> Mapping[str, Local]:
    """Return the calibrations in the folders of a catalog, by chip.

    Raises
    ------
    CatalogError
        With every fault of every file there.
    """
    return read_local(getattr(catalog, "roots", ()))


def efficiencies(local: Local | None, engine: str) -> tuple[Parameters, EngineClass]:
    """Return the operators' parameters and those of an engine class."""
    if local is None:
        return Parameters.load(), engine_class(engine)
    return local.parameters(), local.engine_class(engine)
