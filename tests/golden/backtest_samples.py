"""Hand-built outcomes of invented cases: every field is set, and no number of a real product is in it."""

from __future__ import annotations

import samples

from dougong.backtest import Outcome, Precision
from dougong.backtest.case import Case, CaseSource, PhaseLayout
from dougong.backtest.explain import Explained
from dougong.backtest.views import Match
from dougong.plan.types import Pool

LAYOUT = PhaseLayout.of(tp=2, attn_dp=4, ep=8, replicas=2)


def case(name: str, **changes: object) -> Case:
    base: dict[str, object] = {
        "id": name, "model": "example-moe", "system": "16x example-x1", "chip": "example-x1", "engine": "Engine 1.2",
        "precision": Precision(weights="bf16", experts="fp8_e4m3", activations="fp8_e4m3"),
        "layouts": {"all": LAYOUT}, "chips": {"all": 16.0}, "prompt_tokens": 4096, "output_tokens": 256,
        "concurrency": 256, "draft_tokens": 1, "acceptance": 0.7, "limits": {"tpot_s": 0.05},
        "measured": {"tpot_s": 0.04, "output_tokens_per_s_per_chip": 400.0},
        "source": CaseSource(document="A run of nobody", section="Table 1", publisher="Example"),
        "assumed": ("lengths are nominal",), "note": "an invented case", "tolerance": 0.2,
    }  # fmt: skip
    return Case(**{**base, **changes})  # type: ignore[arg-type]


def outcome(
    name: str, metric: str, measured: float, guess: float | None, vendor: str = "example", **more: str
) -> Outcome:
    groups = {
        "vendor": vendor,
        "family": "example",
        "engine_class": "community",
        "regime": "end-to-end",
        **more,
    }
    if guess is None:
        return Outcome(
            id=name, metric=metric, measured=measured, refused="no layout is stated", groups=groups
        )
    return Outcome(
        id=name, metric=metric, measured=measured, predicted=guess, low=guess / 1.25, high=guess * 1.5,
        error_frac=guess / measured - 1, groups=groups,
    )  # fmt: skip


CASES = [case("right"), case("slow"), case("other", system="4x other-y2"), case("gone")]
OUTCOMES = [
    outcome("right", "tpot_s", 0.04, 0.042),
    outcome("right", "output_tokens_per_s_per_chip", 400.0, 380.0),
    outcome("slow", "tpot_s", 0.01, 0.06),
    outcome("other", "ttft_s", 2.0, 0.5, "other", regime="prefill"),
    outcome("gone", "tpot_s", 0.02, None),
    outcome("op", "latency_s", 1.2e-4, 1.0e-4, regime="operator", family="moe_dispatch"),
]
POOLS = (
    Pool(
        phase="decode", layout=LAYOUT.layout, replicas=2, chips=16.0, sequences_per_replica=128.0,
        tokens_per_step=256.0, step_s=samples.DECODE_STEP.seconds, memory=samples.memory(40e9, 20e9),
        utilisation=1.0, steps=(samples.DECODE_STEP,),
    ),
)  # fmt: skip
EXPLAINED = Explained(
    case=CASES[0],
    outcomes=tuple(OUTCOMES[:2]),
    model="example-moe-fp8",
    precision="the checkpoint as published",
    pools=POOLS,
    limits=("memory: the cache holds 40 sequences per attention group, 32 decode",),
    matches=(
        Match(metric="tpot_s", every_step=0.952, step="decode", step_s=0.0714, alone_s=0.068, floor_s=0.03),
        Match(
            metric="output_tokens_per_s_per_chip", every_step=0.95, step="decode", step_s=0.0714, alone_s=0.02,
            floor_s=0.03,
        ),
    ),
)  # fmt: skip
REFUSED = Explained(case=CASES[3], outcomes=(OUTCOMES[4],))
