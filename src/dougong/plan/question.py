"""A question about one given deployment, and its answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dougong.calibration.engines import EngineClass
from dougong.cost.precision import Recipe
from dougong.plan.types import Layout

MODES = ("colocated", "disaggregated", "prefill", "decode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One deployment at one load.

    Attributes
    ----------
    users
        Requests in flight over the whole deployment; with it the batch follows.
    batch
        Decode sequences per attention group; overrides ``users``.
    saturated
        Neither: the engine runs the batch that yields most.
    waves
        Requests of the run over its users. The first wave arrives at once and queues; ten is what load generators
        of published benchmarks send.
    step_tokens
        Prompt tokens per attention group and step; None: the engine class's budget.
    micro_batches
        Whether steps run as two micro-batches where that pays; None: as the engine class does.
    context_tokens
        Mean cached tokens while decoding, where it is stated; None: prompt and half the output.
    """

    model: str
    system: str
    mode: str
    decode: Layout | None = None
    decode_replicas: int = 1
    prefill: Layout | None = None
    prefill_replicas: int = 1
    prompt_tokens: float
    output_tokens: float
    prefix_hit_frac: float = 0.0
    context_tokens: float | None = None
    users: float | None = None
    batch: float | None = None
    saturated: bool = False
    waves: float = 10.0
    step_tokens: float | None = None
    precision: str | Recipe = "auto"
    kv_dtype: str | None = None
    engine: str = "community"
    imbalance: float | None = None
    micro_batches: bool | None = None
    draft_tokens: int = 0
    acceptance: float = 0.7

    def of(self, engine: EngineClass) -> EngineClass:
        """The engine class as this deployment runs it."""
        return engine if self.micro_batches is None else replace(engine, micro_batches=self.micro_batches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the formulas say; None where the mode has no such thing. Rates are per chip of the phase or the whole."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    prefill_tokens_per_s_per_chip: float | None = None
    decode_tokens_per_s_per_chip: float | None = None
    output_tokens_per_s_per_chip: float | None = None
    total_tokens_per_s_per_chip: float | None = None
    batch: float | None = None
    decode_step_s: float | None = None
    prefill_step_s: float | None = None
    limited_by_cache: bool = False
