"""Mixture of experts: routers of models, ties, groups, empty and crowded experts, permutation and combination."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from dougong.backends import Array, Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import Case
from dougong.verify.geometry import experts
from dougong.verify.numbers import dtype_of, normal

_SOFTMAX = ("qwen3-30b-a3b", "qwen3-next-80b-a3b", "gpt-oss-120b")
# Groups and groups kept of the published router, beside what the catalog knows of the bank.
_SIGMOID = {
    "deepseek-v3": (8, 4, 2.5),
    "kimi-k2": (1, 1, 2.827),
    "glm-4.5": (1, 1, 2.5),
    "minimax-m2": (1, 1, 1.0),
}


def _apart(generator: np.random.Generator, t: int, e: int, width: float) -> Array:
    """Rows of scores in ``(-width, width)`` that no honest rounding can bring into another order."""
    steps = (np.argsort(generator.random((t, e)), axis=-1) + 0.5) / e
    return (2.0 * steps - 1.0) * width


def _softmax(
    generator: np.random.Generator, *, dtype: str, t: int, e: int, k: int, renormalise: bool
) -> Call:
    logits = _apart(generator, t, e, 6.0 if dtype == "float32" else 0.0)
    if dtype != "float32":  # consecutive numbers of the dtype, all apart
        numbers = np.arange(0x3C00, 0x3C00 + e, dtype=np.uint16).view(dtype_of(dtype)).astype(np.float64)
        logits = numbers[np.argsort(generator.random((t, e)), axis=-1)]
    return Call(
        op="route_softmax",
        inputs={"logits": logits.astype(dtype_of(dtype))},
        attributes={"top_k": k, "renormalise": renormalise},
    )


def _sigmoid(
    generator: np.random.Generator,
    *,
    t: int,
    e: int,
    k: int,
    groups: int,
    kept: int,
    scaling: float,
    bias: float,
    steps_per_unit: int = 64,
) -> Call:
    # Scores on a grid, a bias of whole steps of a finer one: sums of two stay a step apart, or are redrawn.
    wanted = np.empty((t, e))
    steps = bias * np.round(generator.standard_normal(e) * steps_per_unit) / steps_per_unit
    for row in range(t):
        scores = np.empty(e)
        for _ in range(100):
            scores = (np.argsort(generator.random(e)) + generator.uniform(0.3, 0.7, e)) / e
            chosen = np.sort((scores + steps).reshape(groups, -1), axis=-1)
            worth = np.sort(np.sum(chosen[:, -2:], axis=-1))
            if np.min(np.diff(np.sort(chosen.ravel()))) > 1e-5 and (
                groups == 1 or np.min(np.diff(worth)) > 1e-5
            ):
                break
        wanted[row] = scores
    logits = np.log(wanted / (1.0 - wanted)).astype(np.float32)
    return Call(
        op="route_sigmoid",
        inputs={"logits": logits, "bias": steps.astype(np.float32)},
        attributes={"top_k": k, "groups": groups, "top_groups": kept, "scaling": scaling},
    )


def _tied(generator: np.random.Generator, *, op: str, dtype: str) -> Call:
    logits = generator.integers(-2, 3, (9, 64)).astype(dtype_of(dtype))
    inputs: dict[str, Array] = {"logits": logits}
    if op == "route_sigmoid":
        inputs["bias"] = np.zeros(64, np.float32)
    return Call(op=op, inputs=inputs, attributes={"top_k": 6})


def _vanishing(_: np.random.Generator, *, dtype: str) -> Call:
    """Scores that are all 0, or all but: their sum must not divide by 0."""
    logits = (-np.arange(160.0, 192.0))[None].repeat(3, axis=0)
    logits[1, ::2] = -np.inf
    logits[2] = -np.inf
    bias = np.linspace(1.0, 0.0, 32, dtype=np.float32)
    inputs = {"logits": logits.astype(dtype_of(dtype)), "bias": bias}
    return Call(op="route_sigmoid", inputs=inputs, attributes={"top_k": 4})


def _sharp(generator: np.random.Generator, *, dtype: str) -> Call:
    logits = (30.0 * _apart(generator, 5, 32, 1.0)).astype(dtype_of(dtype))
    return Call(op="route_softmax", inputs={"logits": logits}, attributes={"top_k": 4})


def _ids(generator: np.random.Generator, t: int, k: int, e: int, load: str) -> Array:
    if load == "one":  # every token's first choice is one expert
        ids = np.stack([generator.permutation(e - 1)[:k] for _ in range(t)])
        ids[:, 0] = e - 1
        return ids
    if load == "half":  # odd experts see no token
        return 2 * np.stack([generator.permutation(e // 2)[:k] for _ in range(t)])
    ids = np.stack([generator.permutation(e)[:k] for _ in range(t)])
    if load == "absent":
        ids[generator.random(ids.shape) < 0.4] = -1
        ids[0] = -1
    return ids


def _weights(generator: np.random.Generator, t: int, k: int) -> Array:
    weights = generator.random((t, k)) + 0.1
    return (weights / np.sum(weights, axis=-1, keepdims=True)).astype(np.float32)


def _moe(
    generator: np.random.Generator,
    *,
    dtype: str,
    t: int,
    h: int,
    f: int,
    e: int,
    k: int,
    load: str = "even",
    shared: bool = False,
    ranks: int = 1,
) -> Call:
    inputs = {
        "x": normal(generator, (t, h), dtype),
        "ids": _ids(generator, t, k, e, load),
        "weights": _weights(generator, t, k),
        "gate_up": normal(generator, (e, 2 * f, h), dtype, scale=h**-0.5),
        "down": normal(generator, (e, h, f), dtype, scale=f**-0.5),
    }
    if shared:
        inputs["shared_gate_up"] = normal(generator, (2 * f, h), dtype, scale=h**-0.5)
        inputs["shared_down"] = normal(generator, (h, f), dtype, scale=f**-0.5)
    return Call(op="moe", inputs=inputs, attributes={"ranks": ranks})


def _grouped(generator: np.random.Generator, *, dtype: str, n: int, k: int, counts: tuple[int, ...]) -> Call:
    return Call(
        op="grouped_linear",
        inputs={
            "x": normal(generator, (sum(counts), k), dtype),
            "weight": normal(generator, (len(counts), n, k), dtype, scale=k**-0.5),
            "counts": np.array(counts),
        },
    )


def _permute(generator: np.random.Generator, *, dtype: str, t: int, e: int, k: int, load: str) -> Call:
    ids = _ids(generator, t, k, e, load)
    return Call(
        op="moe_permute",
        inputs={"x": normal(generator, (t, 33), dtype), "ids": ids},
        attributes={"experts": e},
    )


def _combine(generator: np.random.Generator, *, dtype: str, t: int, k: int, h: int) -> Call:
    return Call(
        op="moe_combine",
        inputs={
            "rows": normal(generator, (t * k, h), dtype),
            "source": generator.permutation(t * k),
            "weights": _weights(generator, t, k),
        },
    )


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
                        _softmax, dtype=dtype, t=17, e=bank.num, k=bank.top_k, renormalise=renormalise
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
                    _sigmoid,
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
            _sigmoid,
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
                make=partial(_tied, op=op, dtype=dtype),
                edge="five distinct scores for sixty-four experts",
                switches=("tie_order",),
            )
        yield _case(
            "route_sigmoid",
            "vanishing",
            dtype,
            make=partial(_vanishing, dtype=dtype),
            edge="scores that vanish: weights are numbers, not NaN",
        )
        yield _case(
            "route_softmax",
            "sharp",
            dtype,
            make=partial(_sharp, dtype=dtype),
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
                make=partial(_moe, dtype=dtype, load=load, **small),
                edge=edge,
                relations=("row_chunks",),
                profile="smoke" if load == "half" and dtype == "bfloat16" else "standard",
            )
        yield _case(
            "moe",
            "shared",
            dtype,
            make=partial(_moe, dtype=dtype, shared=True, **small),
            edge="a shared expert, which no router weighs",
        )
        for t in (1, 2, 16, 17, 33):
            yield _case(
                "moe",
                f"tokens{t}",
                dtype,
                make=partial(_moe, dtype=dtype, **{**small, "t": t}),
                edge="groups of rows that fill no tile",
            )
        for ranks in (2, 4):
            yield _case(
                "moe",
                f"ranks{ranks}",
                dtype,
                make=partial(_moe, dtype=dtype, ranks=ranks, **small),
                edge="experts over several ranks: what each adds, summed",
            )
        for name in ("qwen3-30b-a3b", "deepseek-v3", "kimi-k2"):
            bank = experts(name)
            yield _case(
                "moe",
                name,
                dtype,
                make=partial(_moe, dtype=dtype, t=7, h=64, f=16, e=bank.num, k=bank.top_k),
                geometry=f"{name} experts",
                edge="all experts of a model, each narrow",
                profile="smoke" if name == "deepseek-v3" and dtype == "float32" else "standard",
            )
            yield _case(
                "moe",
                f"{name}-wide",
                dtype,
                make=partial(_moe, dtype=dtype, t=3, h=bank.inputs, f=32, e=4, k=2),
                geometry=f"{name} experts",
                edge="the width of a model, few experts",
            )
        yield _case(
            "moe",
            "deepseek-v3-whole",
            dtype,
            make=partial(
                _moe,
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
                make=partial(_grouped, dtype=dtype, n=130, k=515, counts=counts),
                edge="experts without rows, and rows that fill no tile",
                profile="smoke" if what == "tails" and dtype == "bfloat16" else "standard",
            )
        for load in ("even", "half", "one"):
            yield _case(
                "moe_permute",
                load,
                dtype,
                make=partial(_permute, dtype=dtype, t=41, e=16, k=4, load=load),
                edge="pairs in the order of their experts, as they come within one",
                exact=True,
                profile="smoke" if load == "one" and dtype == "bfloat16" else "standard",
            )
        for t, k in ((1, 8), (33, 8), (17, 1)):
            yield _case(
                "moe_combine",
                f"t{t}-k{k}",
                dtype,
                make=partial(_combine, dtype=dtype, t=t, k=k, h=130),
                edge="every row back to its token, weighted",
            )


def _extents() -> Iterator[Case]:
    for dtype in FLOATS:
        for op, make, axes in (
            ("moe", partial(_moe, dtype=dtype, t=140, h=24, f=16, e=8, k=2, load="one"), "t"),
            ("grouped_linear", partial(_grouped, dtype=dtype, n=70, k=130, counts=(3, 0, 17, 1)), "n k"),
            ("moe_permute", partial(_permute, dtype=dtype, t=140, e=16, k=4, load="even"), "t"),
            ("route_softmax", partial(_softmax, dtype=dtype, t=300, e=40, k=4, renormalise=True), "t"),
            ("route_softmax", partial(_softmax, dtype=dtype, t=3, e=400, k=8, renormalise=True), "e"),
        ):
            yield _case(
                op,
                f"extents-{axes.replace(' ', '')}",
                dtype,
                make=make,
                edge="an extent at which a kernel takes another way; strides taken for granted",
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
