"""Records of planning: what is asked, what is found, what is refused. Values only, no arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dougong.facts import Figure, Source
from dougong.workload import Limit, Workload

OBJECTIVES = ("throughput", "cost", "latency", "chips")
"""tokens/s per chip · USD per million tokens · lowest TPOT then TTFT · fewest chips for the given load."""

MODES = ("auto", "colocated", "disaggregated")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """One question, complete: the same request gives the same answer, byte for byte."""

    model: str
    systems: tuple[str, ...]
    workload: Workload
    limit: Limit = Limit()
    objective: str = "throughput"
    mode: str = "auto"
    precision: str = "auto"
    kv_dtype: str | None = None
    engine: str = "community"  # an engine class of the calibration
    launchable: str | None = None  # an engine that can launch whatever is answered
    chips: int | None = None  # use at most this many
    draft_tokens: int = 0
    acceptance: float | None = None  # of each draft token in turn [1]
    imbalance: float | None = None  # of expert load; None: the engine class's own
    top: int = 5
    usd_per_chip_hour: float | None = None
    usd_per_kwh: float | None = None
    grid_g_per_kwh: float | None = None
    watts_per_chip: float | None = None
    pue: float = 1.0
    region: str = "world"
    max_context_tokens: int | None = None  # the engine extends the model's context to this
    edition: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How one replica is cut, in devices. Convention: ``tp * cp * attn_dp == ep * expert_tp``."""

    tp: int = 1
    pp: int = 1
    cp: int = 1
    attn_dp: int = 1
    ep: int = 1
    expert_tp: int = 1

    @property
    def devices(self) -> int:
        """Devices of one replica."""
        return self.tp * self.cp * self.attn_dp * self.pp

    def __str__(self) -> str:
        parts = [f"TP{self.tp}"]
        parts += [f"DP{self.attn_dp}"] if self.attn_dp > 1 else []
        parts += [f"CP{self.cp}"] if self.cp > 1 else []
        parts += [f"PP{self.pp}"] if self.pp > 1 else []
        parts += [f"EP{self.ep}"] if self.ep > 1 else []
        parts += [f"ETP{self.expert_tp}"] if self.expert_tp > 1 and (self.ep > 1 or self.attn_dp > 1) else []
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Interval:
    """A prediction with the range it is believed in."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCost:
    """One operator of the winner's step, for ``--explain``; all layers together, one device."""

    name: str
    group: str
    kind: str
    count: float
    seconds: float
    share: float
    bound: str  # compute | memory | scale_up | scale_out | host
    flop: float
    bytes: float
    message_bytes: float
    dtype: str
    compute_frac: float  # achieved share of the dense peak
    memory_frac: float  # achieved share of the nominal bandwidth
    formula: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One step of one phase on one device."""

    phase: str  # prefill | decode | mixed
    seconds: float
    groups: Mapping[
        str, tuple[float, str]
    ]  # operator group -> (seconds, bound); host overhead is the group "host"
    operators: tuple[OperatorCost, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on the fullest device of a replica."""

    weights_bytes: float
    kv_cache_bytes: float
    activations_bytes: float
    communication_bytes: float
    reserve_bytes: float
    capacity_bytes: float

    @property
    def used_bytes(self) -> float:
        """Everything but what is free [byte]."""
        return (
            self.weights_bytes
            + self.kv_cache_bytes
            + self.activations_bytes
            + self.communication_bytes
            + self.reserve_bytes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Replicas of one layout that serve one phase (or both)."""

    phase: str  # prefill | decode | both
    layout: Layout
    replicas: int
    chips: float
    sequences_per_replica: float  # in flight
    tokens_per_step: float  # query tokens of one replica's step
    step_s: float
    memory: Memory
    utilisation: float  # 1: this pool is what limits throughput
    steps: tuple[StepReport, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to serve, priced."""

    system: str
    mode: str  # colocated | disaggregated
    pools: tuple[Pool, ...]
    chips: float  # in use, whole
    chips_counted: float  # what rates per chip and cost are over: see plan.rank.chips_counted
    users: float  # requests in flight over the whole deployment
    ttft_s: Interval
    tpot_s: Interval
    output_tokens_per_s_per_chip: Interval
    output_tokens_per_s: Interval
    requests_per_s: float
    kv_transfer_s: float
    usd_per_million_output_tokens: float | None
    electricity_usd_per_million_output_tokens: float | None
    watts_per_chip: float | None
    joules_per_output_token: float | None
    grams_co2e_per_million_output_tokens: float | None
    meets: bool
    tie: bool = False  # within the prediction interval of the best: not to be told apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Candidates turned away for one reason."""

    reason: str  # a member of plan.layouts.REASONS
    count: int
    example: str
    detail: str  # with numbers: needs, has, of what
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The best of one family of layouts, and why it did not win."""

    name: str
    best_tokens_per_s_per_chip: float
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """What 10 % more of one thing buys for the objective: how much better its measure becomes."""

    knob: str
    gain_frac: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why the winner wins."""

    binding: str  # the constraint that stops it from being better
    measure: str  # what the objective goes by, and the gains are of
    sensitivities: tuple[Sensitivity, ...]
    families: tuple[Family, ...]
    ties: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureUse:
    """A figure that the answer stood on."""

    figure: Figure
    source: Source | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The ranked answer."""

    request: PlanRequest
    options: tuple[Option, ...]  # best first
    pareto: tuple[Option, ...]  # tokens/s per user against tokens/s per chip, fastest user first
    refusals: tuple[Refusal, ...]
    explanation: Explanation
    candidates: int  # (layout, batch) pairs priced
    elapsed_s: float
    model_name: str
    precision_note: str
    notes: tuple[str, ...]
    figures: tuple[FigureUse, ...]
    worst_grade: str | None
    edition: str
    fingerprint: str  # hash of the records and parameters that the answer stood on
    best_of_each: tuple[Option, ...] = ()  # of every system asked that can serve, best first


@dataclass(frozen=True, slots=True, kw_only=True)
class Infeasible:
    """No, with reasons: an answer and not an exception."""

    request: PlanRequest
    refusals: tuple[Refusal, ...]
    nearest: Option | None  # the best that breaks a limit, if any fits at all
    candidates: int
    elapsed_s: float
    notes: tuple[str, ...] = ()
    figures: tuple[FigureUse, ...] = ()
    edition: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitCell:
    """One model on one system."""

    model: str
    system: str
    verdict: str  # fits | does-not-fit | unknown-figure | unsupported | misses-limit
    tokens_per_s_per_chip: float | None = None
    chips: float | None = None
    layout: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The matrix of what fits where."""

    models: tuple[str, ...]
    systems: tuple[str, ...]
    cells: Mapping[tuple[str, str], FitCell] = field(default_factory=dict[tuple[str, str], FitCell])
    elapsed_s: float = 0.0
    edition: str = ""
    notes: tuple[str, ...] = ()
