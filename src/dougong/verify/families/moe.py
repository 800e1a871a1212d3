"""Mixture of experts: routers of models, ties, groups, empty and crowded experts, permutation and combination."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from dougong.ops.definition import FLOATS
from dougong.verify.case import OTHER_EXTENT, Case
from dougong.verify.families import moe_calls as calls
from dougong.verify.geometry import experts

_SOFTMAX = ("qwen3-30b-a3b", "qwen3-next-80b-a3b", "gpt-oss-120b")
# Groups and groups kept of the published router, beside what the catalog knows of the bank.
_SIGMOID = {
    "deepseek-v3": (8, 4, 2.5),
    "kimi-k2": (1, 1, 2.827),
    "glm-4.5": (1, 1, 2.5),
    "minimax-m2": (1, 1, 1.0),
}


def _case(op: str, what: str, dtype: str, **rest: object) -> Case:
    return Case(id=f"moe/{op}-{what}-{dtype}", family="moe", op=op, dtype=dtype, **rest)  # type: ignore[arg-type]


def _routers() -> Iterator[Case]:
    for name in _SOFTMAX:
        bank = experts(name)
        for dtype in FLOATS:
            for renormalise in (True, False):
                yield _case(
                    "route_softmax",
                    f"{name}{'' if renormalise else '-raw'}",
                    dtype,
                    make=partial(
                        calls.softmax_router,
                        dtype=dtype,
                        t=17,
                        e=bank.num,
                        k=bank.top_k,
                        renormalise=renormalise,
                    ),
                    geometry=f"{name} router",
                    edge="no two scores are equal: one set of experts in one order",
                    relations=("row_chunks",),
                    provenance=("vllm-project/vllm-ascend#8359",) if renormalise else (),
                    profile="smoke" if dtype == "bfloat16" and renormalise else "standard",
                )
    for name, (groups, kept, scaling) in _SIGMOID.items():
        bank = experts(name)
        for bias, what in ((1.0, "bias"), (0.0, "no-bias")):
            yield _case(
                "route_sigmoid",
                f"{name}-{what}",
                "float32",
                make=partial(
                    calls.sigmoid_router,
                    t=17,
                    e=bank.num,
                    k=bank.top_k,
                    groups=groups,
                    kept=kept,
                    scaling=scaling,
                    bias=bias,
                ),
                geometry=f"{name} router",
                edge="the bias chooses and does not weigh" if bias else "scores alone",
                relations=("row_chunks",),
                profile="smoke" if bias else "standard",
            )
    bank = experts("deepseek-v3")
    yield _case(
        "route_sigmoid",
        "fine-bias",
        "float32",
        make=partial(
            calls.sigmoid_router,
            t=40,
            e=bank.num,
            k=bank.top_k,
            groups=1,
            kept=1,
            scaling=1.0,
            bias=1.0,
            steps_per_unit=1 << 14,
        ),
        geometry="deepseek-v3 router",
        edge="a bias that no 16 bits hold",
        profile="smoke",
    )
    for dtype in FLOATS:
        for op in ("route_softmax", "route_sigmoid"):
            yield _case(
                op,
                "ties",
                dtype,
                make=partial(calls.tied, op=op, dtype=dtype),
                edge="five distinct scores for sixty-four experts",
                switches=("tie_order",),
            )
        yield _case(
            "route_sigmoid",
            "vanishing",
            dtype,
            make=partial(calls.vanishing, dtype=dtype),
            edge="scores that vanish: weights are numbers, not NaN",
        )
        yield _case(
            "route_softmax",
            "sharp",
            dtype,
            make=partial(calls.sharp, dtype=dtype),
            edge="one expert takes nearly all",
        )


def _layers() -> Iterator[Case]:
    small = {"t": 13, "h": 128, "f": 64, "e": 16, "k": 4}
    for dtype in FLOATS:
        for load, edge in (
            ("even", "tokens over all experts"),
            ("half", "every second expert sees no token"),
            ("one", "one expert sees every token"),
            ("absent", "pairs that are another rank's, and a token with none here"),
        ):
            yield _case(
                "moe",
                load,
                dtype,
                make=partial(calls.layer, dtype=dtype, load=load, **small),
                edge=edge,
                relations=("row_chunks",),
                profile="smoke" if load == "half" and dtype == "bfloat16" else "standard",
            )
        yield _case(
            "moe",
            "shared",
            dtype,
            make=partial(calls.layer, dtype=dtype, shared=True, **small),
            edge="a shared expert, which no router weighs",
        )
        for t in (1, 2, 16, 17, 33):
            yield _case(
                "moe",
                f"tokens{t}",
                dtype,
                make=partial(calls.layer, dtype=dtype, **{**small, "t": t}),
                edge="groups of rows that fill no tile",
            )
        for ranks in (2, 4):
            yield _case(
                "moe",
                f"ranks{ranks}",
                dtype,
                make=partial(calls.layer, dtype=dtype, ranks=ranks, **small),
                edge="experts over several ranks: what each adds, summed",
            )
        for name in ("qwen3-30b-a3b", "deepseek-v3", "kimi-k2"):
            bank = experts(name)
            yield _case(
                "moe",
                name,
                dtype,
                make=partial(calls.layer, dtype=dtype, t=7, h=64, f=16, e=bank.num, k=bank.top_k),
                geometry=f"{name} experts",
                edge="all experts of a model, each narrow",
                profile="smoke" if name == "deepseek-v3" and dtype == "float32" else "standard",
            )
            yield _case(
                "moe",
                f"{name}-wide",
                dtype,
                make=partial(calls.layer, dtype=dtype, t=3, h=bank.inputs, f=32, e=4, k=2),
                geometry=f"{name} experts",
                edge="the width of a model, few experts",
            )
        yield _case(
            "moe",
            "deepseek-v3-whole",
            dtype,
            make=partial(
                calls.layer,
                dtype=dtype,
                t=4,
                h=experts("deepseek-v3").inputs,
                f=experts("deepseek-v3").ffn_size,
                e=8,
                k=8,
            ),
            geometry="deepseek-v3 experts",
            edge="eight experts as they are",
            profile="full",
        )


def _parts() -> Iterator[Case]:
    for dtype in FLOATS:
        for what, counts in (
            ("even", (16,) * 8),
            ("tails", (0, 1, 15, 16, 17, 0, 127, 129)),
            ("last", (0, 0, 0, 33)),
            ("first", (33, 0, 0, 0)),
        ):
            yield _case(
                "grouped_linear",
                what,
                dtype,
                make=partial(calls.grouped, dtype=dtype, n=130, k=515, counts=counts),
                edge="experts without rows, and rows that fill no tile",
                profile="smoke" if what == "tails" and dtype == "bfloat16" else "standard",
            )
        for load in ("even", "half", "one"):
            yield _case(
                "moe_permute",
                load,
                dtype,
                make=partial(calls.permute, dtype=dtype, t=41, e=16, k=4, load=load),
                edge="pairs in the order of their experts, as they come within one",
                exact=True,
                profile="smoke" if load == "one" and dtype == "bfloat16" else "standard",
            )
        for t, k in ((1, 8), (33, 8), (17, 1)):
            yield _case(
                "moe_combine",
                f"t{t}-k{k}",
                dtype,
                make=partial(calls.combine, dtype=dtype, t=t, k=k, h=130),
                edge="every row back to its token, weighted",
            )


def _extents() -> Iterator[Case]:
    for dtype in FLOATS:
        for op, make, axes in (
            ("moe", partial(calls.layer, dtype=dtype, t=140, h=24, f=16, e=8, k=2, load="one"), "t"),
            ("grouped_linear", partial(calls.grouped, dtype=dtype, n=70, k=130, counts=(3, 0, 17, 1)), "n k"),
            ("moe_permute", partial(calls.permute, dtype=dtype, t=140, e=16, k=4, load="even"), "t"),
            (
                "route_softmax",
                partial(calls.softmax_router, dtype=dtype, t=300, e=40, k=4, renormalise=True),
                "t",
            ),
            (
                "route_softmax",
                partial(calls.softmax_router, dtype=dtype, t=3, e=400, k=8, renormalise=True),
                "e",
            ),
        ):
            yield _case(
                op,
                f"extents-{axes.replace(' ', '')}",
                dtype,
                make=make,
                edge=OTHER_EXTENT,
                relations=(*(f"cuts:{axis}" for axis in axes.split()), "layouts", "again"),
                exact=op == "moe_permute",
                profile="smoke" if dtype == "bfloat16" and op in ("moe", "route_softmax") else "standard",
            )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    yield from _extents()
    yield from _routers()
    yield from _layers()
    yield from _parts()
