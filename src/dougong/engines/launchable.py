"""Tells planning which layouts an engine refuses to launch: the adapter is asked for the command of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dougong.catalog.hardware import System
from dougong.catalog.store import Catalog
from dougong.engines.from_plan import model_of, replica
from dougong.engines.port import Engine, LaunchRequest, Parallel
from dougong.errors import InputError
from dougong.plan.launcher import Launchers
from dougong.plan.types import Layout, PlanRequest


@dataclass(frozen=True, slots=True)
class Launchable:
    """An engine as the launcher of one model on one system."""

    engine: Engine
    one: LaunchRequest

    def against(self, layout: Layout, role: str, peer: Layout | None = None) -> str:
        """Return why the engine refuses a replica; empty where it does not."""
        request = replace(
            self.one, parallel=_cut(layout), role=role, peer=None if peer is None else _cut(peer)
        )
        try:
            self.engine.command(request)
        except InputError as error:
            return error.message.replace(":\n  ", ": ").replace("\n  ", "; ")
        return ""


def launchers(engine: Engine, request: PlanRequest, catalog: Catalog) -> Launchers:
    """Return the launcher of each system of a request.

    Raises
    ------
    InputError
        Of what it returns: no engine is known for a system's chip.
    """
    context = request.max_context_tokens or request.workload.full_context

    def of(system: System) -> Launchable:
        model = model_of(request.model, catalog)
        if model.format not in engine.formats:
            model = replace(model, format=engine.formats[0])  # weights in the engine's own form are somewhere
        one = replica(
            model,
            system,
            context_tokens=context,
            draft_tokens=request.draft_tokens,
            kv_dtype=request.kv_dtype,
        )
        return Launchable(engine, replace(one, port=1))  # any port: it is not listened on

    return of


def _cut(layout: Layout) -> Parallel:
    return Parallel(tp=layout.tp, pp=layout.pp, cp=layout.cp, attn_dp=layout.attn_dp, ep=layout.ep)
