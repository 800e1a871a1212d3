"""Laws of error bounds: honest rounding stays within, worse classes allow more, units do not matter."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dougong.backends import Array, Call
from dougong.backends.reference import FORMULAS
from dougong.verify.bound import CLASSES, NATIVE, Bound
from dougong.verify.bounds import BOUNDS

NUMBERS = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
MATRICES = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 70)).flatmap(
    lambda mnk: st.tuples(
        hnp.arrays(np.float32, (mnk[0], mnk[2]), elements=NUMBERS),
        hnp.arrays(np.float32, (mnk[1], mnk[2]), elements=NUMBERS),
    )
)


def linear(x: Array, weight: Array) -> tuple[Array, Bound]:
    call = Call(op="linear", inputs={"x": x, "weight": weight})
    exact = FORMULAS["linear"](call)
    bound = BOUNDS["linear"](call, exact)["y"]
    assert isinstance(bound, Bound)
    return exact["y"], bound


@given(MATRICES)
def test_a_running_sum_in_float32_stays_within_the_worst_case(operands: tuple[Array, Array]) -> None:
    x, weight = operands
    exact, bound = linear(x, weight)
    total = np.zeros(exact.shape, np.float32)
    for k in range(x.shape[1]):
        total += np.outer(x[:, k], weight[:, k])
    # A product of float32 is rounded as well: one more roundoff of each term than the class has sums.
    worst = NATIVE.accumulate * (bound.accumulate_worst + bound.product_worst) + np.abs(exact) * 2.0**-24
    assert np.all(np.abs(total - exact) <= worst * (1 + 1e-6) + 1e-37)


@given(MATRICES)
def test_a_worse_class_allows_more(operands: tuple[Array, Array]) -> None:
    exact, bound = linear(*operands)
    allowed = [bound.allowed(exact, "float32", each) for each in CLASSES]
    ordered = {each.name: pair for each, pair in zip(CLASSES, allowed, strict=True)}
    for better, worse in (("native", "tf32"), ("tf32", "bf16x1"), ("bf16x1", "bf16-accumulate")):
        for gate in (0, 1):
            assert np.all(ordered[better][gate] <= ordered[worse][gate])


@given(MATRICES, st.integers(-20, 20))
def test_a_power_of_two_scales_the_bound_with_the_values(operands: tuple[Array, Array], power: int) -> None:
    x, weight = operands
    scale = np.float32(2.0**power)
    (one, plain), (two, scaled) = linear(x, weight), linear(x * scale, weight)
    assert np.allclose(two, one * scale, rtol=1e-12)
    for name in ("accumulate_rms", "accumulate_worst", "product_rms", "product_worst"):
        assert np.allclose(getattr(scaled, name), getattr(plain, name) * scale, rtol=1e-9)


@given(MATRICES, st.randoms(use_true_random=False))
def test_the_order_of_terms_does_not_matter(operands: tuple[Array, Array], random: object) -> None:
    x, weight = operands
    order = list(range(x.shape[1]))
    random.shuffle(order)  # type: ignore[attr-defined]
    (_, plain), (_, shuffled) = linear(x, weight), linear(x[:, order], weight[:, order])
    assert np.allclose(plain.accumulate_worst, shuffled.accumulate_worst, rtol=1e-9)
    assert np.allclose(plain.product_rms, shuffled.product_rms, rtol=1e-9)


ROWS = hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 60)), elements=NUMBERS)


@given(ROWS)
def test_a_norm_in_float32_stays_within_its_bound(x: Array) -> None:
    weight = np.ones(x.shape[-1], np.float32)
    call = Call(op="rms_norm", inputs={"x": x, "weight": weight}, attributes={"eps": 1e-6})
    exact = FORMULAS["rms_norm"](call)
    bound = BOUNDS["rms_norm"](call, exact)["y"]
    assert isinstance(bound, Bound)
    root = np.float32(1) / np.sqrt((x * x).mean(-1, keepdims=True, dtype=np.float32) + np.float32(1e-6))
    got = (x * root * weight).astype(np.float64)
    room = (
        np.abs(exact["y"]) * 2.0**-24
        + bound.floor
        + NATIVE.accumulate * (bound.accumulate_worst + bound.product_worst)
    )
    assert np.all(np.abs(got - exact["y"]) <= room + 1e-37)


@given(
    hnp.arrays(np.float32, (1, 2, 3, 8), elements=st.floats(-3, 3, width=32)),
    hnp.arrays(np.float32, (1, 2, 11, 8), elements=st.floats(-3, 3, width=32)),
    hnp.arrays(np.float32, (1, 2, 11, 5), elements=st.floats(-3, 3, width=32)),
)
def test_attention_in_float32_stays_within_its_bound(q: Array, k: Array, v: Array) -> None:
    call = Call(op="attention", inputs={"q": q, "k": k, "v": v})
    exact = FORMULAS["attention"](call)
    bound = BOUNDS["attention"](call, exact)["y"]
    assert isinstance(bound, Bound)
    score = (q @ k.swapaxes(-1, -2)) * np.float32(8**-0.5)
    raised = np.exp(score - score.max(-1, keepdims=True))
    got = ((raised / raised.sum(-1, keepdims=True)) @ v).astype(np.float64)
    worst = (
        np.abs(exact["y"]) * 2.0**-24
        + bound.floor
        + NATIVE.accumulate * (bound.accumulate_worst + bound.product_worst)
    )
    assert np.all(np.abs(got - exact["y"]) <= worst + 1e-37)
