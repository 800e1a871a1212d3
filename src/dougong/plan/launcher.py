"""What planning asks of whoever is to launch a plan: which layouts it refuses, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from dougong.catalog.hardware import System
from dougong.plan.layouts import Table
from dougong.plan.types import Layout, Refusal

Array = Any

REMEDY = "another engine with --launchable, or a plan without it"


class Launcher(Protocol):
    """Whoever is to launch a plan, such as an engine's adapter on the chips of one system."""

    def against(self, layout: Layout, role: str, peer: Layout | None = None) -> str:
        """Return why a replica cannot be launched so; empty where it can.

        Parameters
        ----------
        role
            ``both``, ``prefill`` or ``decode``.
        peer
            Layout of the replicas of the other role. What depends on both depends on their TP, PP and CP alone.
        """
        ...


Launchers = Callable[[System], Launcher]


class Launches:
    """The word of a launcher on the layouts of tables, asked once of each; without a launcher all are good."""

    def __init__(self, launcher: Launcher | None = None) -> None:
        self._launcher = launcher
        self._said: dict[tuple[Layout, str, Layout | None], str] = {}

    def rows(self, table: Table, role: str) -> Array:
        """Which layouts can be launched in a role, ``[L]``."""
        if self._launcher is None:
            return np.ones(len(table), dtype=bool)
        return np.array([not self._against(table.layout(row), role) for row in range(len(table))], dtype=bool)

    def pairs(self, table: Table) -> list[tuple[Array, Array]]:
        """Layouts of prefill and of decode replicas ``[L]`` that can hand over to each other, in groups.

        Every pair that can stands in one group.
        """
        prefill, decode = self.rows(table, "prefill"), self.rows(table, "decode")
        if self._launcher is None:
            return [(prefill, decode)]
        cuts = [(int(tp), int(pp), int(cp)) for tp, pp, cp in zip(table.tp, table.pp, table.cp, strict=True)]
        first = {cuts[row]: table.layout(row) for row in reversed(np.flatnonzero(prefill).tolist())}
        second = {cuts[row]: table.layout(row) for row in reversed(np.flatnonzero(decode).tolist())}
        groups: dict[frozenset[tuple[int, int, int]], list[tuple[int, int, int]]] = {}
        for own, layout in second.items():
            givers = frozenset(
                cut
                for cut, other in first.items()
                if not self._against(other, "prefill", layout) and not self._against(layout, "decode", other)
            )
            groups.setdefault(givers, []).append(own)

        def among(some: Any) -> Array:
            return np.array([cut in some for cut in cuts], dtype=bool)

        found = [
            (prefill & among(givers), decode & among(takers)) for givers, takers in groups.items() if givers
        ]
        return found or [(prefill & among(()), decode & among(()))]

    def refusals(self) -> list[Refusal]:
        """What was turned away up to now."""
        if self._launcher is None:
            return []
        found: list[Refusal] = []
        alone = [asked for asked, why in self._said.items() if why and asked[2] is None]
        paired = [asked for asked, why in self._said.items() if why and asked[2] is not None]
        for refused in filter(None, (alone, paired)):
            layout, role, peer = refused[0]
            other = "" if peer is None else f" beside {peer}"
            found.append(
                Refusal(
                    reason="launchable",
                    count=len(refused),
                    example=f"{layout} as {role}{other}",
                    detail=self._said[refused[0]],
                    remedy=REMEDY,
                )
            )
        return found

    def _against(self, layout: Layout, role: str, peer: Layout | None = None) -> str:
        assert self._launcher is not None
        asked = (layout, role, peer)
        if asked not in self._said:
            self._said[asked] = self._launcher.against(layout, role, peer)
        return self._said[asked]
