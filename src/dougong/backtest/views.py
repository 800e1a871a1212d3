"""One question of a case seen from the inside: its steps, its memory, and the step time that would match.

The steps are those the prediction was made of: a pricer notes what the serving formulas ask it for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from dougong import units
from dougong.backtest.questions import Ask
from dougong.backtest.roofline import Roofline
from dougong.backtest.run import Outcome
from dougong.cost.memory import Footprint
from dougong.cost.step import Pricer, StepSeconds, tokens_per_step
from dougong.ops import Ranks, Tokens
from dougong.ops.operators import Number
from dougong.plan.breakdown import breakdown
from dougong.plan.evaluate import Columns
from dougong.plan.question import Answer
from dougong.plan.serving import colocated, decode_pool, prefill_pool
from dougong.plan.space import memory_of, memory_record
from dougong.plan.types import Layout, Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What would have to take how long for one figure to come out as measured.

    Attributes
    ----------
    every_step
        Factor on the time of every step [1]; None where no factor does it.
    step
        The step that weighs most in the figure.
    step_s, alone_s, floor_s
        What it takes as priced, what it alone would have to take, and what it takes without any loss [s].
    """

    metric: str
    every_step: float | None = None
    step: str = ""
    step_s: float | None = None
    alone_s: float | None = None
    floor_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A step that was priced."""

    phase: str  # decode | mixed | prefill
    ranks: Ranks
    pp: float
    tokens: Tokens
    seconds: float

    @property
    def parts(self) -> dict[str, bool]:
        """Which halves are lowered."""
        return {"decode": self.phase != "prefill", "prefill": self.phase != "decode"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watched(Pricer):
    noted: list[Noted] = field(default_factory=list[Noted])

    def step(self, ranks: Ranks, pp: Number, tokens: Tokens, *, decode: bool, prefill: bool) -> StepSeconds:
        """Price a step and note it."""
        spent = Pricer.step(self, ranks, pp, tokens, decode=decode, prefill=prefill)
        phase = "mixed" if decode and prefill else "decode" if decode else "prefill"
        found = Noted(phase=phase, ranks=ranks, pp=float(pp), tokens=tokens, seconds=float(spent.total))
        self.noted.append(found)
        return spent


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One question with its answer, its pricer for one machine, and the steps between them."""

    ask: Ask
    answer: Answer
    pricer: Pricer
    shape: Columns  # numbers, not columns
    steps: tuple[Noted, ...]
    pools: tuple[Pool, ...]
    prints: tuple[Footprint, ...]  # one per pool

    @classmethod
    def of(cls, ask: Ask, answer: Answer, pricer: Pricer, columns: Columns) -> View:
        """Ask the serving formulas once more, on numbers, and note the steps they price."""
        shape = Columns(**{name: float(getattr(columns, name)[0, 0]) for name in Columns.__slots__})
        watched = _Watched(**{part.name: getattr(pricer, part.name) for part in fields(Pricer)})
        question, layouts = ask.question, list[tuple[str, Layout, int]]()
        batch = answer.batch or 1.0
        if question.mode in ("prefill", "disaggregated"):
            layout = question.prefill or Layout()
            layouts.append(("prefill", layout, question.prefill_replicas))
            prefill_pool(watched, *_cut(layout), shape, _prompt_tokens(ask, answer, pricer, shape), 0.0)
        if question.mode != "prefill":
            layout = question.decode or Layout()
            serve = colocated if question.mode == "colocated" else decode_pool
            layouts.append(("both" if serve is colocated else "decode", layout, question.decode_replicas))
            serve(watched, *_cut(layout), shape, batch, question.acceptance)
        steps = tuple(watched.noted)
        prints = tuple(_memory(pricer, layout, shape) for _, layout, _ in layouts)
        pools = tuple(
            _pool(pricer, *placed, [step for step in steps if _belongs(step, placed[0])], account, shape)
            for placed, account in zip(layouts, prints, strict=True)
        )
        return cls(
            ask=ask, answer=answer, pricer=pricer, shape=shape, steps=steps, pools=pools, prints=prints
        )  # fmt: skip

    def limits(self) -> list[str]:
        """What holds the run back, in sentences."""
        said: list[str] = []
        for pool, account in zip(self.pools, self.prints, strict=True):
            if pool.phase != "prefill":
                said.append(self._room(pool, float(account.sequences)))
            for step in pool.steps:
                group, (seconds, bound) = max(step.groups.items(), key=lambda item: item[1][0])
                name, share = group.replace("_", " "), seconds / step.seconds
                said.append(
                    f"{step.phase} step: {name} takes {share:.0%} of it, bound by {bound.replace('_', '-')}"
                )
        return said

    def _room(self, pool: Pool, room: float) -> str:
        groups = pool.layout.attn_dp * pool.layout.pp
        batch, users = pool.sequences_per_replica / groups, self.ask.question.users
        if room < 1:
            need = units.show(pool.memory.used_bytes, "byte")
            return (
                f"memory: not one sequence fits by our account ({need} of "
                f"{units.show(pool.memory.capacity_bytes, 'byte')}); the run did run, so one is taken"
            )
        held = f"memory: the cache holds {room:,.0f} sequences per attention group, {batch:,.4g} decode"
        waiting = 0.0 if users is None else users - pool.sequences_per_replica * pool.replicas
        return f"{held}, {waiting:,.0f} of {users:,.0f} requests wait outside" if waiting > 0.5 else held

    def match(self, outcome: Outcome) -> Match:
        """What would have to take how long for a predicted figure to come out as measured."""
        predicted = getattr(self.answer, outcome.metric)
        ratio = outcome.measured / predicted  # of times
        if not outcome.metric.endswith("_s"):
            ratio = 1.0 / ratio
        once = self.pricer.engine.request_s
        if outcome.metric == "ttft_s":
            scaled = (outcome.measured - once) / max(predicted - once, 1e-12)
            return Match(metric=outcome.metric, every_step=scaled if scaled > 0 else None)
        step, alone = self._alone(outcome.metric, ratio)
        spent = Roofline.of(self.pricer).step(step.ranks, step.pp, step.tokens, **step.parts)
        return Match(
            metric=outcome.metric,
            every_step=ratio,
            step=step.phase,
            step_s=step.seconds,
            alone_s=alone if alone is not None and alone > 0 else None,
            floor_s=float(spent.total),
        )

    def _alone(self, metric: str, ratio: float) -> tuple[Noted, float | None]:
        # The step that weighs most in the figure, and what it alone would have to take.
        if metric.startswith("prefill"):
            (step,) = [step for step in self.steps if step.phase == "prefill"]
            return step, step.seconds * ratio
        found = {step.phase: step for step in self.steps}
        decode, mixed = found["decode"], found.get("mixed")
        if mixed is None or self.answer.tpot_s is None:
            return decode, decode.seconds * ratio
        question = self.ask.question
        drafted = tokens_per_step(question.draft_tokens, question.acceptance)
        mean = self.answer.tpot_s * drafted  # of the steps one request lives through
        wanted = mean * ratio
        if mixed.seconds <= decode.seconds or mean >= mixed.seconds:
            return mixed, mixed.seconds * ratio
        share = (mean - decode.seconds) / (mixed.seconds - decode.seconds)
        if share * mixed.seconds > (1.0 - share) * decode.seconds:
            return mixed, (wanted - (1.0 - share) * decode.seconds) / share
        return decode, (wanted - share * mixed.seconds) / (1.0 - share)


def _cut(layout: Layout) -> tuple[Ranks, float]:
    names = ("tp", "cp", "attn_dp", "ep", "expert_tp")
    return Ranks(**{name: float(getattr(layout, name)) for name in names}), float(layout.pp)


def _prompt_tokens(ask: Ask, answer: Answer, pricer: Pricer, shape: Columns) -> float:
    # What a group took into one step, back from the rate and the time of that step.
    layout, rate = ask.question.prefill or Layout(), answer.prefill_tokens_per_s_per_chip or 0.0
    prompts = (
        rate * layout.devices / float(pricer.machine.devices_per_chip) / shape.prompt_tokens
    )  # per replica
    tokens = (
        prompts * shape.computed_prompt_tokens * (answer.prefill_step_s or 0.0) / (layout.attn_dp * layout.pp)
    )
    return round(float(tokens), 6)  # a last digit more would fill one more tile


def _memory(pricer: Pricer, layout: Layout, shape: Any) -> Footprint:
    ranks, pp = _cut(layout)
    return memory_of(pricer, ranks, pp, shape, pricer.engine.prefill_step_tokens)


def _belongs(step: Noted, phase: str) -> bool:
    return step.phase == "prefill" if phase == "prefill" else step.phase != "prefill"


def _pool(
    pricer: Pricer,
    phase: str,
    layout: Layout,
    replicas: int,
    steps: list[Noted],
    account: Footprint,
    shape: Columns,
) -> Pool:
    first = steps[0]
    tokens = float(first.tokens.prefill_tokens if phase == "prefill" else first.tokens.decode_tokens)
    held = float(first.tokens.decode_sequences) or max(tokens / shape.computed_prompt_tokens, 1.0)
    return Pool(
        phase=phase,
        layout=layout,
        replicas=replicas,
        chips=replicas * layout.devices / float(pricer.machine.devices_per_chip),
        sequences_per_replica=held * layout.attn_dp * layout.pp,
        tokens_per_step=tokens * layout.attn_dp,
        step_s=first.seconds,
        memory=memory_record(account, 0, held),
        utilisation=1.0,
        steps=tuple(
            breakdown(pricer, step.phase, step.ranks, int(step.pp), step.tokens, **step.parts)
            for step in steps
        ),
    )
