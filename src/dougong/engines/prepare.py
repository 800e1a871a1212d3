"""From what the user wants to commands: the model, the engine for it, ports, secrets, one command per replica."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dougong.engines.checks import new_key
from dougong.engines.fleet import Launch
from dougong.engines.port import Engine, LaunchRequest
from dougong.engines.process import free_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Replicas that differ in their ports and devices only.

    Attributes
    ----------
    replicas
        How many are wanted.
    ttft_s, tpot_s
        What the plan predicts [s]; None where none did.
    """

    engine: Engine
    request: LaunchRequest
    replicas: int = 1
    ttft_s: float | None = None
    tpot_s: float | None = None
    chip: str = ""


def launches(groups: Sequence[Group], *, shown: bool = False) -> list[tuple[Group, Launch]]:
    """Return one launch per replica, each with a port and a secret of its own.

    Parameters
    ----------
    shown
        For a command that is only shown: one launch per group, with port 8001 and up and no secret.
    """
    made: list[tuple[Group, Launch]] = []
    for group in groups:
        for number in range(1 if shown else group.replicas):
            request = replace(
                group.request,
                port=8001 + len(made) if shown else free_port(group.request.host),
                api_key=None if shown else new_key(),
                devices=_devices(group.request, number),
            )
            role = "" if request.role == "both" else f"-{request.role}"
            name = f"{group.engine.name}{role}-{len(made) + 1}"
            made.append((group, Launch(name=name, command=group.engine.command(request))))
    return made


def _devices(request: LaunchRequest, number: int) -> tuple[int, ...]:
    """Return the devices of one replica: the next ones in the row that the user named."""
    width = request.parallel.devices
    if not request.devices or len(request.devices) < width:
        return request.devices
    return request.devices[number * width : (number + 1) * width] or request.devices[:width]
