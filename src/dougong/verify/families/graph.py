"""Graphs: a case of each family again, captured with other inputs and replayed; padded, and not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from dougong.backends import Call
from dougong.ops.definitions.graph import PREFIX
from dougong.verify.case import Case
from dougong.verify.families import (
    activation,
    attention,
    cast,
    dynamic_quant,
    elementary,
    gather,
    gemm,
    kv_write,
    lora,
    moe,
    norm,
    quantised_gemm,
    reduction,
    rope,
    sampler,
    selection,
    softmax,
    view,
)

_EACH = (
    (gemm, "gemm/linear-m17-n71-k130", True),
    (gemm, "gemm/linear-x-column-slice", True),
    (quantised_gemm, "quantised_gemm/linear-w8a8-odd-to-bfloat16", True),
    (cast, "cast/m64-k1000-to-bfloat16", False),
    (dynamic_quant, "dynamic_quant/token-m17-k5120-to-int8", True),
    (norm, "norm/rms-norm-d576", True),
    (rope, "rope/rope-qwen3-32b-4k", True),
    (attention, "attention/qwen3-32b-t33-s33", False),
    (kv_write, "kv_write/latent_cache_write-page64-padded", False),
    (softmax, "softmax/softmax-edge-m7-n33", True),
    (softmax, "softmax/softmax-masked-inf", True),
    (activation, "activation/swiglu-strided", True),
    (elementary, "elementary/exp-activations", False),
    (reduction, "reduction/sum-edge-3x129-axis1", False),
    (selection, "selection/top_k-distinct-m5-n33", True),
    (sampler, "sampler/filter-top-p-n1000", True),
    (moe, "moe/route_sigmoid-deepseek-v3-bias", True),
    (moe, "moe/moe_combine-t33-k8", False),
    (gather, "gather/embedding-last", True),
    (lora, "lora/merge-rank16", False),
    (view, "view/transpose-strided", False),
)
"""Families, the beginning of the ids of one of their cases, and whether its rows have nothing to do with each other:
padding behind those must not be seen."""

_COMPILED = ("gemm", "norm", "softmax", "activation", "dynamic_quant", "attention")


def _graph(generator: np.random.Generator, *, of: Case, rows: int, compiler: str) -> Call:
    call = of.make(generator)
    attributes = {**call.attributes, "capture_rows": rows, "compiler": compiler}
    return replace(call, op=f"{PREFIX}{call.op}", attributes=attributes)


def cases() -> Iterator[Case]:
    """Cases of the family."""
    for family, start, apart in _EACH:
        for case in family.cases():
            if case.id.rpartition("-")[0] == start:
                yield from _graphs(case, apart=apart)


def _graphs(case: Case, *, apart: bool) -> Iterator[Case]:
    ways = [("captured", 0, "", "captured with other inputs, then replayed", "standard")]
    if apart:
        ways.append(
            (
                "padded",
                64,
                "",
                "padded to a capture size: what lies behind the rows must not leak",
                "standard",
            )
        )
    if case.family in _COMPILED:
        ways.append(("inductor", 0, "inductor", "compiled", "full"))
    for way, rows, compiler, edge, profile in ways:
        smoke = profile == "standard" and case.dtype == "bfloat16" and case.family in ("gemm", "softmax")
        yield replace(
            case,
            id=f"graph/{way}-{case.id.replace('/', '-')}",
            family="graph",
            op=f"{PREFIX}{case.op}",
            make=partial(_graph, of=case, rows=rows, compiler=compiler),
            edge=f"{edge}; {case.edge}",
            provenance=("vllm-project/vllm-ascend#3922",),
            relations=(),
            profile="smoke" if smoke else profile,
        )
