"""A published measurement with every condition it states, in base units and in our words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dougong.calibration.engines import engine_classes
from dougong.catalog.models import DTYPE_BITS
from dougong.plan.types import Layout

METRICS: Mapping[str, str] = {
    "ttft_s": "s",
    "tpot_s": "s",
    "prefill_tokens_per_s_per_chip": "token/s",
    "decode_tokens_per_s_per_chip": "token/s",
    "output_tokens_per_s_per_chip": "token/s",
    "total_tokens_per_s_per_chip": "token/s",
}
"""Metrics of a serving case and their units.

``prefill`` and ``decode`` rates are divided by the chips of that phase, ``output`` and ``total`` (prompt and
output tokens) rates by all chips of the deployment.
"""

OPERATOR_METRICS: Mapping[str, str] = {
    "latency_s": "s",
    "flop_per_s": "FLOP/s",
    "bandwidth_bytes_per_s": "byte/s",
    "dispatch_bytes_per_s": "byte/s",
    "combine_bytes_per_s": "byte/s",
    "utilisation_frac": "1",
    "usable_frac": "1",
    "gain_frac": "1",
    "gain_low_frac": "1",
    "gain_high_frac": "1",
    "speedup_ratio": "1",
}
"""Metrics of an operator case and their units; gains compare with the same run without the feature."""

PHASES = ("all", "prefill", "decode")
USES = ("validate", "sanity")
REGIMES = ("prefill", "decode", "end-to-end")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseLayout:
    """Replicas of one layout that serve one phase, in devices.

    A device is what a runtime enumerates: a package of two dies shows two.
    """

    layout: Layout = field(default_factory=Layout)
    replicas: int = 1

    @classmethod
    def of(
        cls, *, tp: int = 1, pp: int = 1, cp: int = 1, attn_dp: int = 1, ep: int = 1, replicas: int = 1
    ) -> PhaseLayout:
        """The layout whose expert tensor-parallel degree follows from the width law."""
        expert_tp = max(1, tp * attn_dp * cp // max(1, ep))
        return cls(
            layout=Layout(tp=tp, pp=pp, cp=cp, attn_dp=attn_dp, ep=ep, expert_tp=expert_tp), replicas=replicas
        )

    @property
    def devices(self) -> int:
        """Devices of all replicas."""
        return self.layout.devices * self.replicas

    def faults(self) -> Iterator[str]:
        """What breaks the law of widths, or nothing."""
        cut = self.layout
        for name in ("tp", "pp", "cp", "attn_dp", "ep", "expert_tp"):
            if getattr(cut, name) < 1:
                yield f"{name} must be at least 1, is {getattr(cut, name)}"
        if self.replicas < 1:
            yield f"replicas must be at least 1, is {self.replicas}"
        attention, experts = cut.tp * cut.attn_dp * cut.cp, cut.ep * cut.expert_tp
        if attention != experts:
            yield f"attention spans {attention} devices and experts {experts} (tp*attn_dp*cp = ep*expert_tp)"

    def __str__(self) -> str:
        return f"{self.replicas} x ({self.layout})" if self.replicas > 1 else str(self.layout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Data types of a run, words of ``DTYPE_BITS``; None is what the checkpoint or the engine does."""

    weights: str | None = None  # every matrix but the routed experts
    experts: str | None = None
    activations: str | None = None  # what quantised matrices multiply with
    kv: str | None = None

    def faults(self) -> Iterator[str]:
        """Words that are no data type."""
        for name in self.__slots__:
            word = getattr(self, name)
            if word is not None and word not in DTYPE_BITS:
                yield f"precision.{name} = {word!r} is no data type; legal: {', '.join(DTYPE_BITS)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSource:
    """Where a measurement is printed."""

    document: str
    section: str = ""
    commit: str = ""
    publisher: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One published serving measurement."""

    id: str
    model: str  # catalog id or published name
    system: str  # catalog id, or "N x chip"
    chip: str  # catalog id
    devices_per_chip: int = 1
    engine: str = ""  # as printed
    engine_class: str = "community"
    precision: Precision = field(default_factory=Precision)
    layouts: Mapping[str, PhaseLayout] = field(
        default_factory=dict[str, PhaseLayout]
    )  # phase -> layout, in devices
    chips: Mapping[str, float] = field(
        default_factory=dict[str, float]
    )  # phase -> chips behind the printed rate
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    context_tokens: int | None = None  # mean cached length while decoding, where stated
    concurrency: int | None = None  # requests in flight, whole deployment
    requests: int | None = None  # length of a burst that is queued at once
    rate_requests_per_s: float | None = None  # offered load, where it is stated
    saturated: bool = False  # offered load above capacity: the engine runs its largest batch
    batch_per_device: float | None = None  # sequences in flight per device of the decoding phase
    prefill_batch_tokens: int | None = None  # prompt tokens of one step, per attention group
    prefix_hit_frac: float | None = None
    draft_tokens: int = 0  # tokens drafted per step; 0 is no speculation
    acceptance: float | None = None  # chance that a drafted token is kept
    balanced_experts: bool | None = None  # True where the source forces an even expert load
    micro_batches: bool = False  # the stack overlaps exchange and compute of two micro-batches
    limits: Mapping[str, float] = field(default_factory=dict[str, float])  # objectives the run was held to
    measured: Mapping[str, float] = field(default_factory=dict[str, float])  # METRICS, base units
    printed: Mapping[str, float] = field(default_factory=dict[str, float])  # as the source prints it
    tolerance: float | None = None  # largest |error| we promise; None is reported only
    known_miss: str = ""  # why the promise is not kept
    use: str = "validate"
    kind: str = "measured"
    source: CaseSource = field(default_factory=lambda: CaseSource(document=""))
    note: str = ""
    assumed: tuple[str, ...] = ()  # conditions the source does not state, and what was taken
    refused: str | None = None  # why no prediction can be held against it

    @property
    def regime(self) -> str:
        """``prefill``, ``decode`` or ``end-to-end``: what the measurement exercises."""
        if set(self.layouts) == {"prefill"} or (
            self.measured and all(m.startswith("prefill") for m in self.measured)
        ):
            return "prefill"
        if set(self.layouts) == {"decode"}:
            return "decode"
        if set(self.measured) == {"ttft_s"}:
            return "prefill"
        return "end-to-end"

    @property
    def vendor(self) -> str:
        """Maker of the chip: the first word of its id."""
        return self.chip.split("-", 1)[0]

    @property
    def family(self) -> str:
        """Name of the model family, its version and size dropped."""
        return family_of(self.model)

    def faults(self) -> Iterator[str]:
        """What is wrong with the record itself, all of it."""
        if self.engine_class not in engine_classes():
            yield f"engine_class = {self.engine_class!r}; legal: {', '.join(engine_classes())}"
        if self.use not in USES:
            yield f"use = {self.use!r}; legal: {', '.join(USES)}"
        if self.devices_per_chip < 1:
            yield f"devices_per_chip must be at least 1, is {self.devices_per_chip}"
        for metric in self.measured:
            if metric not in METRICS:
                yield f"measured.{metric} is no metric; legal: {', '.join(METRICS)}"
        for phase, layout in self.layouts.items():
            if phase not in PHASES:
                yield f"layouts.{phase} is no phase; legal: {', '.join(PHASES)}"
            yield from (f"layouts.{phase}: {fault}" for fault in layout.faults())
        if "all" in self.layouts and len(self.layouts) > 1:
            yield "layouts.all stands beside a phase of its own"
        yield from self.precision.faults()
        for name in ("prefix_hit_frac", "acceptance"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                yield f"{name} must lie in 0..1, is {value}"
        if self.refused is None and not self.layouts:
            yield "no layout, and no reason why it is refused"
        if self.refused is None and not self.measured:
            yield "nothing measured, and no reason why it is refused"

    def __str__(self) -> str:
        cuts = [f"{'' if phase == 'all' else f'{phase} '}{placed}" for phase, placed in self.layouts.items()]
        lengths = (self.prompt_tokens or self.context_tokens, self.output_tokens)
        said = [self.engine, "; ".join(cuts), "/".join(str(tokens) for tokens in lengths if tokens)]
        load = f"{self.concurrency} in flight" if self.concurrency else ""
        return ", ".join(word for word in (f"{self.model} on {self.system}", *said, load) if word)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCase:
    """One published measurement of a single operator, collective, link or ablation."""

    id: str
    op: str
    chip: str
    library: str = ""
    shape: Mapping[str, float] = field(
        default_factory=dict[str, float]
    )  # m, n, k, ep, tokens_per_rank, batch, ...
    words: Mapping[str, str] = field(
        default_factory=dict[str, str]
    )  # dtype, kv_dtype, link, scope, direction, model
    measured: Mapping[str, float] = field(default_factory=dict[str, float])  # OPERATOR_METRICS, base units
    printed: Mapping[str, float] = field(default_factory=dict[str, float])
    tolerance: float | None = None
    known_miss: str = ""
    kind: str = "measured"
    source: CaseSource = field(default_factory=lambda: CaseSource(document=""))
    note: str = ""
    refused: str | None = None

    @property
    def vendor(self) -> str:
        """Maker of the chip: the first word of its id."""
        return self.chip.split("-", 1)[0]

    def faults(self) -> Iterator[str]:
        """What is wrong with the record itself, all of it."""
        for metric in self.measured:
            if metric not in OPERATOR_METRICS:
                yield f"measured.{metric} is no metric; legal: {', '.join(OPERATOR_METRICS)}"
        if self.refused is None and not self.measured:
            yield "nothing measured, and no reason why it is refused"

    def __str__(self) -> str:
        shape = ", ".join(f"{name} {value:g}" for name, value in self.shape.items())
        return f"{self.op} on {self.chip}: {shape}" if shape else f"{self.op} on {self.chip}"


AnyCase = Case | OperatorCase


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFile:
    """What one file holds: the cases that could be read, and every row that could not."""

    path: str
    kind: str  # serving-truth | inferencex | operator-truth | records
    cases: tuple[AnyCase, ...]
    faults: tuple[str, ...] = ()  # "line 12: what is wrong", in file order

    @property
    def serving(self) -> tuple[Case, ...]:
        """The serving cases."""
        return tuple(case for case in self.cases if isinstance(case, Case))

    @property
    def operators(self) -> tuple[OperatorCase, ...]:
        """The operator cases."""
        return tuple(case for case in self.cases if isinstance(case, OperatorCase))


_FAMILIES = (
    "deepseek", "kimi", "qwen", "glm", "minimax", "llama", "gpt-oss", "mixtral", "mistral", "hy3", "hunyuan",
    "pangu", "nemotron", "step", "gemma", "ernie", "phi", "mimo", "ling", "yi",
)  # fmt: skip


def family_of(model: str) -> str:
    """Family of a model name, for grouping errors.

    Examples
    --------
    >>> family_of("Qwen3.5-397B-A17B")
    'qwen'
    """
    name = model.lower().rsplit("/", 1)[-1]
    return next((family for family in _FAMILIES if family in name), name.split("-", 1)[0])
