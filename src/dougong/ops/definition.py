"""What an operator of a model is, once for all who price, run or verify it.

A :class:`Definition` says axes, dtypes, formula and special cases in words and data; it computes nothing. The
float64 formula stands in ``backends.reference``, the bound of its error in ``verify.bounds``, both under its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "gemm": "GEMM and linear layers",
        "quantised_gemm": "quantised GEMM",
        "cast": "casts between dtypes",
        "dynamic_quant": "quantisation of activations at run time",
        "norm": "RMSNorm, LayerNorm and their fusions",
        "rope": "rotary position embedding",
        "attention": "attention of a prompt",
        "paged_attention": "decode attention over a paged KV cache",
        "latent_attention": "latent, sparse and linear attention",
        "kv_write": "writes to the KV cache",
        "softmax": "softmax and log-softmax",
        "activation": "activations",
        "elementary": "elementary functions",
        "reduction": "reductions and scans",
        "selection": "top-k, sort and argmax",
        "sampler": "sampling of a token",
        "moe": "mixture of experts",
        "gather": "embedding, gather and scatter",
        "collective": "collectives",
        "lora": "low-rank adapters",
        "view": "views and copies",
        "graph": "captured and compiled graphs",
    }
)
"""Families of operators, in the order in which a report lists them."""

FLOATS = ("float32", "float16", "bfloat16")
"""Dtypes in which every stack is asked to compute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """An input or output: its name, axis letters (``"m k"``, ``""`` for a scalar) and kind of numbers.

    ``kind``: ``float`` is the dtype under test; ``index`` is int32 or int64; ``@name`` is the dtype that the attribute
    ``name`` holds; ``=name`` is that of the input ``name``; any other word names a dtype (``int8``, ``bool``).
    """

    name: str
    axes: str
    kind: str = "float"
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Special:
    """One line of a table of special cases: when it holds, what comes out, and the switch that may decide otherwise.

    ``switch`` names what a semantics profile settles where specifications are silent; ``None``: not up to a profile.
    """

    when: str
    then: str
    switch: str | None = None


_SUMS = ("gemm", "attention", "all_reduce", "reduce_scatter", "sum", "cumsum", "index_add")
"""Operators, by what they are priced as or by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """An operator: its operands, its attributes with their defaults, its formula and its special cases.

    Attributes
    ----------
    formula
        In axis letters, as the reference computes it in float64.
    priced_as
        The kind of :class:`~dougong.ops.operators.Compute` or ``Collective`` that carries its cost; ``None`` where a
        step has it inside another.
    """

    name: str
    family: str
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    formula: str
    attributes: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    specials: tuple[Special, ...] = ()
    dtypes: tuple[str, ...] = FLOATS
    priced_as: str | None = None
    references: tuple[str, ...] = ()

    @property
    def sums(self) -> bool:
        """Whether outputs are sums: the sign of one that is zero hangs on what its terms are added to."""
        return self.priced_as in _SUMS or self.name in _SUMS
