"""Puts the replicas of a deployment on nodes: who runs where, on which devices, at which ports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dougong.engines.checks import nodes_of
from dougong.engines.port import LaunchCommand, LaunchRequest, NodePlace
from dougong.engines.prepare import Group

HTTP_PORT = 8001
_MEET_PORT = 20_000  # below Linux's ephemeral ports; two for each replica that spans nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One process of one replica on one node.

    Attributes
    ----------
    node
        Which node, counted from 0.
    name
        Name of its replica, as ``vllm-prefill-2``.
    answers
        Whether this process answers requests; of a replica over several nodes, the first does.
    """

    node: int
    name: str
    group: Group
    request: LaunchRequest
    command: LaunchCommand
    answers: bool


def host_word(node: int) -> str:
    """Return the word that stands for a node's address until it is known; a shell need not quote it."""
    return f"DOUGONG-HOST-{node}-"


def place(groups: Sequence[Group], *, key: str | None = None) -> list[Placed]:
    """Put every replica on nodes, one after the other: beside the last one where it fits, else on the next.

    Parameters
    ----------
    key
        The word that stands for the secret of the engines; None for engines without one.

    Raises
    ------
    InputError
        What an engine cannot do of its request.
    """
    placed: list[Placed] = []
    node = used = number = spanning = 0
    for group in groups:
        request, devices = group.request, group.request.parallel.devices
        per_node = request.node_devices or devices
        for _ in range(group.replicas):
            number += 1
            role = "" if request.role == "both" else f"-{request.role}"
            name = f"{group.engine.name}{role}-{number}"
            if used and used + devices > per_node:
                node, used = node + 1, 0
            nodes = nodes_of(request)
            for rank in range(nodes):
                where = None
                if nodes > 1:
                    port = _MEET_PORT + 2 * spanning
                    where = NodePlace(rank=rank, nodes=nodes, head=host_word(node), port=port)
                own = replace(
                    request,
                    host=host_word(node + rank),
                    port=HTTP_PORT + used,
                    devices=tuple(range(used, used + devices // nodes)) if devices < per_node else (),
                    node=where,
                    api_key=key,
                )
                command = group.engine.command(own)
                placed.append(
                    Placed(
                        node=node + rank,
                        name=name,
                        group=group,
                        request=own,
                        command=command,
                        answers=rank == 0,
                    )
                )
            spanning += nodes > 1
            if nodes > 1:
                node, used = node + nodes, 0
            else:
                used += devices
    return placed
