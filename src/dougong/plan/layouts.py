"""Every layout worth a look, as one table of integers, and the rules that turn rows away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dougong.catalog.models import Model
from dougong.cost.machine import Machine
from dougong.ops import Ranks
from dougong.plan.types import Layout

Array = Any
LONG_CONTEXT_TOKENS = 16_384
"""Context parallelism is tried from this context on: below it attention is too small a part to split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Layouts as integer columns ``[L]``; ``ep = tp * cp * attn_dp / expert_tp``."""

    tp: Array
    pp: Array
    cp: Array
    attn_dp: Array
    expert_tp: Array

    @property
    def ep(self) -> Array:
        """Expert-parallel degree of each row."""
        return self.tp * self.cp * self.attn_dp // self.expert_tp

    @property
    def width(self) -> Array:
        """Devices of one pipeline stage."""
        return self.tp * self.cp * self.attn_dp

    @property
    def devices(self) -> Array:
        """Devices of one replica."""
        return self.width * self.pp

    def __len__(self) -> int:
        return len(self.tp)

    def take(self, rows: Array) -> Table:
        """The rows chosen by a mask or an index."""
        return Table(
            **{name: getattr(self, name)[rows] for name in ("tp", "pp", "cp", "attn_dp", "expert_tp")}
        )

    def ranks(self) -> Ranks:
        """Degrees as float columns ``[L, 1]`` for the cost formulas."""
        column = {
            name: getattr(self, name)[:, None].astype(float)
            for name in ("tp", "cp", "attn_dp", "ep", "expert_tp")
        }
        return Ranks(**column)

    def layout(self, row: int) -> Layout:
        """One row as a record."""
        names = ("tp", "pp", "cp", "attn_dp", "ep", "expert_tp")
        return Layout(**{name: int(getattr(self, name)[row]) for name in names})

    @staticmethod
    def of(layouts: Sequence[Layout]) -> Table:
        """A table of given layouts."""
        names = ("tp", "pp", "cp", "attn_dp", "expert_tp")
        return Table(
            **{
                name: np.array([getattr(layout, name) for layout in layouts], dtype=np.int64)
                for name in names
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the rules look at."""

    model: Model
    machine: Machine
    devices: int  # available
    context_tokens: float


def enumerate_layouts(setting: Setting) -> Table:
    """Every combination of degrees up to the devices at hand, before any rule but the count.

    Degrees are powers of two; ``attn_dp`` also takes 3, 5 and 9 times a power of two, because published
    deployments do (EP72, EP144, EP320).
    """
    limit = setting.devices
    heads = max(layer.core.num_heads for layer in setting.model.layers)
    tps = [n for n in _powers(limit) if n <= max(heads, 1)]
    pps = [n for n in _powers(limit) if n <= min(16, setting.model.num_layers)]
    cps = [1, 2, 4, 8] if setting.context_tokens >= LONG_CONTEXT_TOKENS else [1]
    dps = (
        sorted({n * odd for n in _powers(limit) for odd in (1, 3, 5, 9) if n * odd <= limit})
        if setting.model.is_moe
        else [1]
    )
    etps = _powers(min(limit, 64)) if setting.model.is_moe else [0]
    grid = np.array(np.meshgrid(tps, pps, cps, dps, etps, indexing="ij"), dtype=np.int64).reshape(5, -1)
    tp, pp, cp, attn_dp, expert_tp = grid
    # A dense model has no experts: its matrices are split by tp, and the law is kept by one expert group.
    expert_tp = np.where(expert_tp == 0, tp * cp * attn_dp, expert_tp)
    whole = (tp * cp * attn_dp) % expert_tp == 0
    fits = whole & (tp * cp * attn_dp * pp <= limit)
    return Table(tp=tp[fits], pp=pp[fits], cp=cp[fits], attn_dp=attn_dp[fits], expert_tp=expert_tp[fits])


def _powers(limit: int) -> list[int]:
    return [1 << i for i in range(max(int(limit), 1).bit_length()) if 1 << i <= limit]


# Rules. Each says which rows are legal; its docstring is the reason shown to the user.


def heads_divide(setting: Setting, table: Table) -> Array:
    """Tensor parallelism must split the attention heads evenly."""
    heads = [layer.core.num_heads for layer in setting.model.layers if layer.core.num_heads]
    return np.logical_and.reduce(
        [heads_of % table.tp == 0 for heads_of in sorted(set(heads))] or [table.tp > 0]
    )


def ffn_divides(setting: Setting, table: Table) -> Array:
    """Tensor and expert-tensor parallelism must leave each device a whole slice of the feed-forward width."""
    legal = table.tp > 0
    for _, linear in setting.model.each_linear():
        if linear.group == "dense_ffn" and linear.shard == "row":
            legal &= linear.inputs % table.tp == 0
    for size in {layer.experts.ffn_size for layer in setting.model.layers if layer.experts}:
        legal &= (size % table.expert_tp == 0) & (size // table.expert_tp >= 64)
    return legal


def experts_cover(setting: Setting, table: Table) -> Array:
    """More expert-parallel devices than one and a half times the experts hold only copies."""
    numbers = [layer.experts.num for layer in setting.model.layers if layer.experts]
    return table.ep <= 1.5 * max(numbers, default=1 << 30)


def expert_split_is_uniform(setting: Setting, table: Table) -> Array:
    """Engines split experts over whole attention groups, or over tensor ranks: not by other factors."""
    return (
        (table.expert_tp == 1)
        | (table.expert_tp == table.tp * table.cp * table.attn_dp)
        | (table.expert_tp == table.tp)
    )


def tensor_parallel_stays_in_scale_up(setting: Setting, table: Table) -> Array:
    """Tensor and context parallelism reduce every layer: they must stay inside the scale-up domain."""
    inside = max([int(level.size) for level in setting.machine.levels if not level.scale_out] or [1])
    return table.tp * table.cp <= inside


def stages_are_needed(setting: Setting, table: Table) -> Array:
    """Pipeline stages are tried only between domains or where one domain cannot hold the model."""
    return (table.pp == 1) | (table.attn_dp == 1)


def links_are_known(setting: Setting, table: Table) -> Array:
    """A layout may only cross links whose bandwidth the catalog knows."""
    legal = table.tp > 0
    inner = 1
    for level in setting.machine.levels:
        if np.isnan(level.bandwidth):
            legal &= table.devices <= inner
            break
        inner = int(level.size)
    return legal


@dataclass(frozen=True, slots=True)
class Rule:
    """A named predicate with what to do about it."""

    name: str
    check: Callable[[Setting, Table], Array]
    remedy: str

    @property
    def reason(self) -> str:
        """The predicate's own docstring."""
        return (self.check.__doc__ or self.name).strip().splitlines()[0]


RULES = (
    Rule("heads-divide", heads_divide, "use a tensor-parallel degree that divides the number of heads"),
    Rule(
        "ffn-divides",
        ffn_divides,
        "use a smaller degree, or expert parallelism instead of expert tensor parallelism",
    ),
    Rule("experts-cover", experts_cover, "use several replicas instead of one wider group"),
    Rule("expert-split-uniform", expert_split_is_uniform, "set expert_tp to 1, to tp, or to the whole group"),
    Rule(
        "scale-up-only",
        tensor_parallel_stays_in_scale_up,
        "use pipeline stages or attention data parallelism across nodes",
    ),
    Rule("stages-needed", stages_are_needed, "use attention data parallelism or pipeline stages, not both"),
    Rule(
        "links-known",
        links_are_known,
        "give the link's bandwidth, with its source, in a catalog file of your own",
    ),
)
REASONS = (
    *(rule.name for rule in RULES),
    "memory",
    "ttft-limit",
    "tpot-limit",
    "load",
    "devices",
    "pool-link",
    "one-token",
    "context",
    "price",
    "launchable",
)
