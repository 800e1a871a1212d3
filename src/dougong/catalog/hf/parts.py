"""What a family's reader puts together: matrices with their names, layers, and the body of a model.

A :class:`Site` is one place of the model (a layer, the head); it names matrices as the checkpoint does and
asks the recipe how each is stored. Equal layers are gathered into one kind with a count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dougong.catalog.hf.quant import Recipe
from dougong.catalog.models import Core, Experts, Layer, Linear

NO_CORE = Core(kind="none")
MANY = 1 << 30


@dataclass(slots=True, kw_only=True)
class Block:
    """One layer of the model, being put together."""

    name: str
    core: Core
    linears: list[Linear] = field(default_factory=list[Linear])
    experts: Experts | None = None
    other: int = 0  # parameters of norms, gates and convolutions


@dataclass(slots=True, kw_only=True)
class Body:
    """Everything a family's reader finds; :mod:`dougong.catalog.hf.read` makes the record of it."""

    hidden_size: int
    vocab_size: int
    blocks: Sequence[Block]
    head: Linear
    tied: bool
    max_context: int
    embedding: int
    other: int = 0  # parameters outside layers: the final norm
    mtp: Sequence[Block] = ()
    mtp_num: int = 0
    streams: int = 1
    kv: str | None = None  # dtype of the cache where the architecture itself fixes it
    absent: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])


class Site:
    """One place of the model: where its matrices are named and their storage is looked up.

    Parameters
    ----------
    recipe
        How the checkpoint is stored.
    path
        The place's module name without wrappers, for instance ``layers.3``; empty for the model itself.
    """

    def __init__(self, recipe: Recipe, path: str = "") -> None:
        self.recipe, self.path = recipe, path

    def linear(
        self,
        module: str,
        group: str,
        inputs: int,
        outputs: int,
        *,
        shard: str = "none",
        ways: int = MANY,
        bias: bool = False,
        copies: int = 1,
        absorbed: bool = False,
        plain: str | None = None,
    ) -> Linear:
        """A matrix named ``module`` below this place; ``plain`` gives a dtype no recipe touches."""
        dtype = plain
        if dtype is None:
            precision = self.recipe.of(f"{self.path}.{module}" if self.path else module, group=group)
            self.recipe.note(precision, inputs * outputs * copies)
            dtype = precision.weight
        name = module.removeprefix("self_attn.").removeprefix("mlp.")
        return Linear(
            name=name, group=group, inputs=inputs, outputs=outputs, shard=shard, ways=ways, bias=bias,
            dtype=dtype, copies=copies, absorbed=absorbed,
        )  # fmt: skip

    def experts(
        self,
        module: str,
        *,
        num: int,
        top_k: int,
        inputs: int,
        ffn_size: int,
        matrices: int = 3,
        bias: bool = False,
    ) -> Experts:
        """The bank of routed experts whose first matrix would be ``module``."""
        precision = self.recipe.of(f"{self.path}.{module}", group="experts")
        self.recipe.note(precision, top_k * matrices * inputs * ffn_size)
        return Experts(
            num=num, top_k=top_k, inputs=inputs, ffn_size=ffn_size, matrices=matrices, bias=bias,
            dtype=precision.weight,
        )  # fmt: skip


def gather(blocks: Sequence[Block]) -> tuple[Layer, ...]:
    """Equal layers as one kind with a count, in order of first appearance."""
    kinds: dict[tuple[str, Core, tuple[Linear, ...], Experts | None, int], list[int]] = {}
    for index, block in enumerate(blocks):
        kinds.setdefault(
            (block.name, block.core, tuple(block.linears), block.experts, block.other), []
        ).append(index)
    return tuple(
        Layer(
            name=name, count=len(indices), core=core, linears=linears, experts=experts,
            other_parameters=other, indices=tuple(indices),
        )
        for (name, core, linears, experts, other), indices in kinds.items()
    )  # fmt: skip
