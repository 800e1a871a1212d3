"""The cases, family by family, at the geometry of models of the catalog and at the edges that broke before."""

from collections.abc import Iterator

from dougong.verify.case import Case
from dougong.verify.families import (
    activation,
    attention,
    cast,
    collective,
    dynamic_quant,
    elementary,
    gather,
    gemm,
    graph,
    kv_write,
    latent_attention,
    lora,
    moe,
    norm,
    paged_attention,
    quantised_gemm,
    reduction,
    rope,
    sampler,
    selection,
    softmax,
    view,
)

_FAMILIES = (
    gemm,
    quantised_gemm,
    cast,
    dynamic_quant,
    norm,
    rope,
    attention,
    paged_attention,
    latent_attention,
    kv_write,
    softmax,
    activation,
    elementary,
    reduction,
    selection,
    sampler,
    moe,
    gather,
    collective,
    lora,
    view,
    graph,
)


def cases() -> Iterator[Case]:
    """Every case of the suite, in the order of :data:`dougong.ops.definition.FAMILIES`."""
    for family in _FAMILIES:
        yield from family.cases()


__all__ = ["cases"]
