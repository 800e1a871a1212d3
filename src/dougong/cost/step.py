"""Seconds of one step, for one candidate or for a whole table of them in one array program.

Notes
-----
A step is a sum over operators on one device plus what the host does not hide. The sum splits into an attention
part, a feed-forward part and the head; each depends on a few columns of the layout only, so the search prices the
distinct rows of each part and gathers. Where a stack runs two micro-batches, the exchange of experts hides behind the
other one's compute: ``total = compute + exchange - overlap * min(compute, exchange)``, each of two halves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from dougong.calibration import Parameters
from dougong.calibration.engines import EngineClass
from dougong.catalog.models import Layer
from dougong.cost.arrays import choose
from dougong.cost.machine import Machine
from dougong.cost.precision import Precise
from dougong.cost.pricing import seconds, startup_s
from dougong.ops import (
    Collective,
    Operator,
    Ranks,
    Tokens,
    lower_attention,
    lower_dense,
    lower_experts,
    lower_head,
)
from dougong.ops.operators import Number

Array = Any

# Digits of an exact integer code of a layout row (49 bits in a float's 53); ``ep`` follows from the others.
_PLACE = {"attn_dp": 1.0, "tp": 2.0**15, "cp": 2.0**25, "expert_tp": 2.0**35}


DRAFT_STEP_FRAC = 0.3
"""Host work of one drafted token over that of a step: sampling and input preparation, no scheduling (estimate)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeconds:
    """Where the time of one step goes [s]; all pipeline stages together.

    ``exchange`` is the part of dispatch and combine that is not hidden, ``bubble`` what stages wait for the fullest.
    """

    compute: Number
    reduce: Number
    exchange: Number
    host: Number
    bubble: Number = 0.0

    @property
    def total(self) -> Number:
        """Seconds of the step through all pipeline stages [s]."""
        return self.compute + self.reduce + self.exchange + self.host + self.bubble


class Spent(NamedTuple):
    """Seconds by what the time is spent on [s]."""

    compute: Number = 0.0
    reduce: Number = 0.0  # reductions and gathers
    exchange: Number = 0.0  # dispatch and combine
    starts: Number = 0.0  # of compute: start-ups of kernels; counted where two micro-batches can fill them

    @property
    def total(self) -> Number:
        """Seconds of all [s]."""
        return self.compute + self.reduce + self.exchange

    def plus(self, other: Spent, times: float = 1.0) -> Spent:
        """These seconds and ``times`` the other."""
        return Spent(*(mine + theirs * times for mine, theirs in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricer:
    """Everything that stays fixed while candidates vary."""

    precise: Precise
    machine: Machine
    parameters: Parameters
    engine: EngineClass
    imbalance: float | None = None  # of expert load; None: the engine class's own
    draft_tokens: int = 0

    def step(self, ranks: Ranks, pp: Number, tokens: Tokens, *, decode: bool, prefill: bool) -> StepSeconds:
        """Price one step for rows of layouts against columns of batches.

        Parameters
        ----------
        ranks
            Degrees as columns ``[L, 1]`` or numbers.
        pp
            Pipeline stages, likewise.
        tokens
            What each attention group computes, as rows ``[1, B]``, columns ``[L, 1]`` or numbers.
        decode, prefill
            Which parts are lowered.

        Returns
        -------
        StepSeconds
            Arrays that broadcast to ``[L, B]``.
        """
        model, engine = self.precise.model, self.engine
        layers, hidden = self._layers(tokens, ranks, decode=decode, prefill=prefill)
        ends = self._head(tokens, ranks)
        if decode and self.draft_tokens:
            # Each drafted token is one pass of the draft module over the same sequences, one query each.
            draft = Tokens(decode_sequences=tokens.decode_sequences, context=tokens.context)
            for layer in model.mtp_layers:
                one = self._layer(layer, draft, ranks, decode=True, prefill=False)
                ends = ends.plus(one, float(self.draft_tokens))
                # A draft is a token: its module ends in the model's own head.
                ends = ends.plus(self._head(draft, ranks), float(self.draft_tokens))
        drafting = DRAFT_STEP_FRAC * self.draft_tokens if decode else 0.0
        # Each attention group has a scheduler of its own.
        scheduling = engine.step_s * (1.0 + drafting) + engine.sequence_s * tokens.decode_sequences
        scheduling = scheduling + (engine.prefill_s if prefill else 0.0)
        gaps = engine.layer_s * model.num_layers
        hop: Number = 0.0
        if np.any(np.asarray(pp) > 1):
            # An unknown link must not reach the rows of one stage.
            hop = choose(pp > 1.0, self._hop(tokens, ranks), 0.0)
        spent = layers.plus(ends)
        busy = spent.compute + spent.reduce + spent.exchange - hidden + gaps + pp * (scheduling + hop)
        # Stages take turns: all wait for the fullest, which has the most layers and both ends of the model.
        fullest = np.ceil(model.num_layers / pp) / model.num_layers
        body = layers.compute + layers.reduce + layers.exchange - hidden + gaps
        stage = body * fullest + ends.compute + ends.reduce + ends.exchange + scheduling + hop
        return StepSeconds(
            compute=spent.compute,
            reduce=spent.reduce + pp * hop,
            exchange=spent.exchange - hidden,
            host=gaps + pp * scheduling,
            bubble=np.maximum(pp * stage - busy, 0.0) * (pp > 1.0),
        )

    def price(self, operators: Iterable[Operator]) -> Spent:
        """Seconds of operators, all layers together [s]."""
        parameters = self.engine.in_graph(self.parameters)
        compute: Number = 0.0
        reduce: Number = 0.0
        exchange: Number = 0.0
        starts: Number = 0.0
        for operator in operators:
            spent = operator.count * seconds(operator, self.machine, parameters, self.engine)
            if not isinstance(operator, Collective):
                compute = compute + spent
                if self.engine.micro_batches:
                    starts = starts + operator.count * startup_s(operator, parameters)
            elif operator.kind == "all_to_all":
                exchange = exchange + spent
            else:
                reduce = reduce + spent
        return Spent(compute, reduce, exchange, starts)

    def expert_load(self, ranks: Ranks) -> Number:
        """Mean load of the busiest expert device over that of all [1].

        Where each device holds a slice of every expert there is nothing to be uneven about.
        """
        imbalance = self.engine.imbalance if self.imbalance is None else self.imbalance
        return 1.0 + (imbalance - 1.0) * (ranks.ep > 1.5)

    def _layers(self, tokens: Tokens, ranks: Ranks, *, decode: bool, prefill: bool) -> tuple[Spent, Number]:
        # Seconds of all layers, and what of their exchange is hidden: as one batch or as two, whichever is faster.
        def whole(part: Tokens) -> Spent:
            spent = Spent()
            for layer in self.precise.model.layers:
                spent = spent.plus(self._layer(layer, part, ranks, decode=decode, prefill=prefill))
            return spent

        one = whole(tokens)
        if not self.engine.micro_batches or not np.any(np.asarray(ranks.attn_dp) > 1):
            return one, 0.0
        # Each half reads all weights anew; while it exchanges or starts a kernel, the other computes.
        two = Spent().plus(whole(tokens.share(0.5)), 2.0)
        work, idle = two.compute - two.starts, two.exchange + two.starts
        hidden = self.engine.overlap_frac * np.minimum(work, idle)
        pays = two.total - hidden < one.total
        return Spent(*(choose(pays, b, a) for a, b in zip(one, two, strict=True))), choose(pays, hidden, 0.0)

    def _layer(self, layer: Layer, tokens: Tokens, ranks: Ranks, *, decode: bool, prefill: bool) -> Spent:
        hidden, dtypes = self.precise.model.hidden_size, self.precise.dtypes
        # The share of other groups' prompts matters to the experts only; without it batches stay rows.
        own = replace(tokens, prefill_share=1.0)

        def attention(few: Ranks, few_tokens: Tokens, machine: Machine) -> Spent:
            flags = {"decode": decode, "prefill": prefill}
            operators = lower_attention(layer, few_tokens, few, dtypes, hidden, **flags)
            return replace(self, machine=machine).price(operators)

        def dense(few: Ranks, few_tokens: Tokens, machine: Machine) -> Spent:
            return replace(self, machine=machine).price(lower_dense(layer, few_tokens, few, dtypes, hidden))

        spent = self._distinct(attention, own, ranks, ("tp", "cp"))
        spent = spent.plus(self._distinct(dense, own, ranks, ("tp", "cp")))
        bank = layer.experts
        if bank is None:
            return spent

        def experts(few: Ranks, few_tokens: Tokens, machine: Machine) -> Spent:
            load = self.expert_load(few)
            operators = lower_experts(layer, bank, few_tokens, few, dtypes, imbalance=load)
            return replace(self, machine=machine).price(operators)

        return spent.plus(self._distinct(experts, tokens, ranks, ("tp", "cp", "attn_dp", "expert_tp")))

    def _head(self, tokens: Tokens, ranks: Ranks) -> Spent:
        def head(few: Ranks, few_tokens: Tokens, machine: Machine) -> Spent:
            operators = lower_head(self.precise.model, few_tokens, few, self.precise.dtypes)
            return replace(self, machine=machine).price(operators)

        return self._distinct(head, replace(tokens, prefill_share=1.0), ranks, ("tp", "cp"))

    def _hop(self, tokens: Tokens, ranks: Ranks) -> Number:
        rows = tokens.decode_tokens + tokens.prefill_tokens / ranks.cp
        hop = Collective(
            name="stage",
            group="other",
            kind="point_to_point",
            count=1.0,
            bytes_out=rows * self.precise.model.hidden_size * 2.0 / ranks.tp,
            ranks=2.0,
            stride=ranks.width,
        )
        return seconds(hop, self.machine, self.parameters, self.engine)

    def _distinct(
        self,
        run: Callable[[Ranks, Tokens, Machine], Spent],
        tokens: Tokens,
        ranks: Ranks,
        columns: Sequence[str],
    ) -> Spent:
        # Price each distinct combination of the columns that matter once, then gather rows.
        rows = np.shape(ranks.tp)
        if not rows or rows[0] < 8 or not _rowless(tokens) or np.ndim(self.machine.bandwidth):
            return run(ranks, tokens, self.machine)
        code = sum(getattr(ranks, name)[:, 0] * _PLACE[name] for name in columns)
        _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
        if len(first) == rows[0]:
            return run(ranks, tokens, self.machine)
        few = Ranks(**{name: getattr(ranks, name)[first] for name in Ranks.__dataclass_fields__})
        if np.shape(tokens.prefill_share)[:1] == rows[:1]:
            # It follows from ``attn_dp`` and the batch alone, so equal codes have equal shares.
            tokens = replace(tokens, prefill_share=tokens.prefill_share[first])
        return Spent(
            *(
                np.broadcast_to(part, (len(first), *np.shape(part)[1:]))[inverse] if np.ndim(part) else part
                for part in run(few, tokens, self.machine)
            )
        )


def _rowless(tokens: Tokens) -> bool:
    fields = (getattr(tokens, name) for name in Tokens.__dataclass_fields__ if name != "prefill_share")
    return all(np.ndim(value) < 2 or np.shape(value)[0] == 1 for value in fields)


def tokens_per_step(draft_tokens: int, acceptance: float) -> float:
    """Expected output tokens of one sequence per step under speculation [token].

    Notes
    -----
    A draft token counts only if all before it were accepted: ``1 + a + a^2 + ... + a^k``.

    References
    ----------
    Leviathan et al., Fast Inference from Transformers via Speculative Decoding, arXiv 2211.17192, equation 1.
    """
    return math.fsum(acceptance**i for i in range(draft_tokens + 1))
