"""What every adapter refuses in the same words, and the secret of a launch."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from dougong.engines.port import ROLES, Engine, LaunchRequest
from dougong.errors import InputError


def new_key() -> str:
    """Return a secret for one launch: 256 bits, so that nobody else on this machine can use the engine."""
    return f"dg-{secrets.token_urlsafe(32)}"


def refuse(engine: Engine, request: LaunchRequest, *more: str, devices: int | None = None) -> None:
    """Raise one InputError with everything that ``engine`` cannot do of ``request``.

    Parameters
    ----------
    more
        Faults that the adapter has found itself; empty ones are passed over.
    devices
        Most devices that one replica can use; None for any number.
    """
    faults: list[str] = []
    if request.model.format not in engine.formats:
        faults.append(
            f"it opens {_listed(engine.formats)}, and {request.model.name} is {request.model.format}"
        )
    if request.platform not in engine.platforms:
        faults.append(f"it runs on {_listed(engine.platforms)}, not on {request.platform}")
    if request.role not in ROLES:
        faults.append(f"role {request.role!r} is none of {_listed(ROLES)}")
    if devices is not None and request.parallel.devices > devices:
        faults.append(
            f"one replica uses {devices} device at most, and {request.parallel} wants {request.parallel.devices}"
        )
    numbers = {
        "context_tokens": request.context_tokens,
        "max_sequences": request.max_sequences,
        "chunk_tokens": request.chunk_tokens,
        "threads": request.threads,
        "port": request.port,
    }
    faults += [
        f"{name} is {value}, and must be more than 0"
        for name, value in numbers.items()
        if value is not None and value < 1
    ]
    if request.memory_frac is not None and not 0 < request.memory_frac <= 1:
        faults.append(f"memory_frac is {request.memory_frac:g}, and must be a share of 1")
    faults += filter(None, more)
    if len(faults) == 1:
        raise InputError(f"{engine.name}: {faults[0]}")
    if faults:
        raise InputError(
            "\n".join([f"{engine.name} cannot do {len(faults)} things:", *(f"  {one}" for one in faults)])
        )


def spans_nodes(request: LaunchRequest, words: str) -> list[str]:
    """Return a note for a replica that is wider than a node: what to add on each of them."""
    wanted, per_node = request.parallel.devices, request.node_devices
    if per_node is None or wanted <= per_node or request.node is not None:
        return []
    nodes = nodes_of(request)
    return [
        f"one replica spans {nodes} nodes of {per_node} devices: on each, add {words.format(nodes=nodes)}"
    ]


def nodes_of(request: LaunchRequest) -> int:
    """Return how many nodes one replica spans; engines want the same number of devices on each."""
    wanted, per_node = request.parallel.devices, request.node_devices or request.parallel.devices
    nodes = -(-wanted // per_node)
    while wanted % nodes:
        nodes += 1
    return nodes


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)
