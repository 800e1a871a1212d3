"""Processes that are the ranks of a collective, kept while this one lives."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dougong.backends.port import Array, Call, Unsupported
from dougong.backends.torch.arrays import to_array, to_tensor

MOST = 4
"""Ranks that are started; smaller groups are cut out of them."""

_WAIT_S = 60.0
_LIBRARIES = {"cpu": "gloo", "cuda": "nccl", "npu": "hccl", "xpu": "xccl", "musa": "mccl"}

_pools: dict[str, Ranks] = {}


def asked(call: Call, inputs: Mapping[str, torch.Tensor], ranks: int, device: str) -> Array:
    """Run a collective over ``ranks`` processes and return every rank's result, stacked.

    Raises
    ------
    Unsupported
        Where there are fewer devices than ranks, or no library of collectives for them.
    """
    kind = device.partition(":")[0]
    if kind not in _LIBRARIES or ranks > MOST:
        raise Unsupported(f"no collective of {ranks} ranks on {kind}")
    if kind != "cpu" and torch.get_device_module(kind).device_count() < MOST:
        raise Unsupported(f"collectives need {MOST} devices of {kind}")
    if kind not in _pools:
        _pools[kind] = Ranks(kind)
    arrays = {name: to_array(tensor) for name, tensor in inputs.items()}
    try:
        return _pools[kind].run(call.op, dict(call.attributes), arrays, ranks)
    except (EOFError, OSError, TimeoutError):
        _pools.pop(kind).stop()
        raise


class Ranks:
    """A pool of rank processes on one kind of device, and their groups."""

    def __init__(self, kind: str) -> None:
        # Forked from a server that has only imported torch: no thread of this process is carried along.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["dougong.backends.torch.ranks"])
        self._folder = tempfile.TemporaryDirectory(prefix="dougong-ranks-")
        pipes = [context.Pipe() for _ in range(MOST)]
        self._ends = [ours for ours, _ in pipes]
        store = str(Path(self._folder.name) / "store")
        self._processes = [
            context.Process(target=_serve, args=(rank, kind, store, theirs), daemon=True)
            for rank, (_, theirs) in enumerate(pipes)
        ]
        for process in self._processes:
            process.start()
        for _, theirs in pipes:
            theirs.close()
        atexit.register(self.stop)

    def run(self, op: str, attributes: dict[str, Any], arrays: dict[str, Array], ranks: int) -> Array:
        """Ask the first ``ranks`` processes, and stack what they answer."""
        for end in self._ends[:ranks]:
            end.send((op, attributes, arrays, ranks))
        answers: list[Array] = []
        for end in self._ends[:ranks]:
            if not end.poll(_WAIT_S):
                raise TimeoutError(f"{op}: a rank did not answer in {_WAIT_S:.0f} s")
            good, answer = end.recv()
            if not good:
                raise RuntimeError(f"{op}: {answer}")
            answers.append(answer)
        return np.stack(answers)

    def stop(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join(5.0)
        for end in self._ends:
            end.close()
        self._folder.cleanup()
        atexit.unregister(self.stop)


def _distributed() -> Any:
    import torch.distributed

    return torch.distributed


def _serve(rank: int, kind: str, store: str, pipe: Connection) -> None:
    dist = _distributed()
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    device = "cpu" if kind == "cpu" else f"{kind}:{rank}"
    if kind != "cpu":
        torch.get_device_module(kind).set_device(rank)
    dist.init_process_group(
        _LIBRARIES[kind],
        init_method=f"file://{store}",
        rank=rank,
        world_size=MOST,
        timeout=timedelta(seconds=_WAIT_S),
    )
    groups = {size: dist.new_group(list(range(size))) for size in range(1, MOST + 1)}
    while True:
        try:
            op, attributes, arrays, ranks = pipe.recv()
        except EOFError:
            return
        try:
            inputs = {name: to_tensor(array, device) for name, array in arrays.items()}
            with torch.inference_mode():
                y = _COLLECTIVES[op](inputs, attributes, rank, ranks, groups[ranks])
            pipe.send((True, to_array(y)))
        except Exception as error:  # told to the asker, whose case it is
            pipe.send((False, f"{type(error).__name__}: {error}"))


def _all_reduce(
    inputs: Mapping[str, torch.Tensor], attributes: Any, rank: int, ranks: int, group: Any
) -> torch.Tensor:
    dist = _distributed()
    y = inputs["x"][rank].clone()
    largest = attributes.get("reduce") == "max"
    dist.all_reduce(y, dist.ReduceOp.MAX if largest else dist.ReduceOp.SUM, group=group)
    return y


def _all_gather(
    inputs: Mapping[str, torch.Tensor], attributes: Any, rank: int, ranks: int, group: Any
) -> torch.Tensor:
    dist = _distributed()
    mine = inputs["x"][rank].contiguous()
    parts = [torch.empty_like(mine) for _ in range(ranks)]
    dist.all_gather(parts, mine, group=group)
    return torch.cat(parts)


def _reduce_scatter(
    inputs: Mapping[str, torch.Tensor], attributes: Any, rank: int, ranks: int, group: Any
) -> torch.Tensor:
    dist = _distributed()
    mine = inputs["x"][rank].contiguous()
    y = torch.empty_like(mine[: len(mine) // ranks])
    # Renamed: the first name is the present one.
    scatter: Any = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
    scatter(y, mine, group=group)
    return y


def _all_to_all(
    inputs: Mapping[str, torch.Tensor], attributes: Any, rank: int, ranks: int, group: Any
) -> torch.Tensor:
    dist = _distributed()
    mine = inputs["x"][rank].contiguous()
    y = torch.empty_like(mine)
    dist.all_to_all_single(y, mine, group=group)
    return y


def _broadcast(
    inputs: Mapping[str, torch.Tensor], attributes: Any, rank: int, ranks: int, group: Any
) -> torch.Tensor:
    dist = _distributed()
    y = inputs["x"][rank].clone()
    dist.broadcast(y, int(attributes.get("root", 0)), group=group)
    return y


def _row_parallel(
    inputs: Mapping[str, torch.Tensor], attributes: Any, rank: int, ranks: int, group: Any
) -> torch.Tensor:
    dist = _distributed()
    k = inputs["x"].shape[1]
    part = slice(k * rank // ranks, k * (rank + 1) // ranks)
    y = torch.nn.functional.linear(inputs["x"][:, part], inputs["weight"][:, part])
    dist.all_reduce(y, group=group)
    return y


def _column_parallel(
    inputs: Mapping[str, torch.Tensor], attributes: Any, rank: int, ranks: int, group: Any
) -> torch.Tensor:
    dist = _distributed()
    n = inputs["weight"].shape[0] // ranks
    y = torch.nn.functional.linear(inputs["x"], inputs["weight"][n * rank : n * (rank + 1)])
    parts = [torch.empty_like(y) for _ in range(ranks)]
    dist.all_gather(parts, y, group=group)
    return torch.cat(parts, dim=1)


_COLLECTIVES = {
    "all_reduce": _all_reduce,
    "all_gather": _all_gather,
    "reduce_scatter": _reduce_scatter,
    "all_to_all": _all_to_all,
    "broadcast": _broadcast,
    "row_parallel_linear": _row_parallel,
    "column_parallel_linear": _column_parallel,
}
