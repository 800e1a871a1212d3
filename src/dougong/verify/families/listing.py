"""How a family names its cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict, Unpack

import numpy as np

from dougong.backends import Call
from dougong.verify.case import Case


class Details(TypedDict, total=False):
    """What a case may say besides; see :class:`~dougong.verify.case.Case`."""

    geometry: str
    profile: str
    provenance: tuple[str, ...]
    relations: tuple[str, ...]
    switches: tuple[str, ...]
    exact: bool
    asks_precision: bool
    repeatable: bool


def listed(
    family: str,
    op: str,
    what: str,
    dtype: str,
    make: Callable[[np.random.Generator], Call],
    edge: str,
    **details: Unpack[Details],
) -> Case:
    """Return the case ``family/what-dtype``."""
    return Case(
        id=f"{family}/{what}-{dtype}", family=family, op=op, dtype=dtype, make=make, edge=edge, **details
    )
