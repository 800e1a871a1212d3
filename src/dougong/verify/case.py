"""What is asked of a backend: a conformance case.

A case is made anew from its id and a seed in whatever process runs it; nothing but ids and results travels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dougong.backends.port import Call

OTHER_EXTENT = "an extent at which a kernel takes another way; strides taken for granted"
"""The edge of cases whose relations ask every extent of an axis, and other layouts."""

PROFILES = ("smoke", "standard", "full")
"""How much is run, from least to most; a case belongs to its profile and every later one."""

CHECKS = (
    "runs",
    "dtype",
    "shape",
    "value",
    "special",
    "determinism",
    "batch_invariance",
    "chunk_invariance",
)
"""What a case may check, in this order; the first that fails gives the verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One operator, dtype and geometry, with the edge that it is there for.

    Unless ``repeatable`` is off, it is run twice, with another call of the same shapes between, and must answer alike.

    Attributes
    ----------
    id
        ``family/what-dtype``, in lower case: a path that stays the same over editions.
    make
        The call, from a generator seeded by the id and the seed of the run.
    geometry
        Where the extents come from: a catalog model and matrix (``qwen3-32b lm_head``), or ``edge``.
    edge
        What it would catch, in a few words.
    provenance
        Public threads that motivated it, as ``owner/repo#n``.
    relations
        Names of :mod:`dougong.verify.relations`: other calls whose answers must agree with this one's.
    switches
        Semantics that a profile decides here: names of :data:`dougong.ops.semantics.SWITCHES`.
    exact
        The answer must equal the oracle bit for bit (integers, indices, copies), whatever the operator's bound.
    asks_precision
        It is there to tell precision classes apart: where its bound cannot, the verdict is INCONCLUSIVE.
    profile
        The smallest of :data:`PROFILES` that runs it.
    """

    id: str
    family: str
    op: str
    dtype: str
    make: Callable[[np.random.Generator], Call]
    edge: str
    geometry: str = "edge"
    provenance: tuple[str, ...] = ()
    relations: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    exact: bool = False
    asks_precision: bool = False
    repeatable: bool = True
    profile: str = "standard"

    def call(self, seed: int = 0) -> Call:
        """Make the call; the same id and seed give the same bytes."""
        key = hashlib.blake2b(self.id.encode(), digest_size=8).digest()
        return self.make(np.random.default_rng([seed, int.from_bytes(key, "little")]))
