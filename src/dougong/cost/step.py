"""Seconds of one step, for one candidate or for a whole table of them in one array program.

Notes
-----
A step is a sum over operators on one device plus what the host does not hide. The sum splits into an attention
part, a feed-forward part and the head; each depends on a few columns of the layout only, so the search prices the
distinct rows of each part and gathers. The exchange of experts may hide behind the other micro-batch's compute:
``total = compute + exchange - overlap * min(compute, exchange)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dougong.calibration import Parameters
from dougong.calibration.engines import EngineClass
from dougong.catalog.models import Layer
from dougong.cost.machine import Machine
from dougong.cost.precision import Precise
from dougong.cost.pricing import seconds
from dougong.ops import Collective, Operator, Ranks, Tokens, lower_attention, lower_ffn, lower_head
from dougong.ops.operators import Number

Array = Any

# Digits of an exact integer code of a layout row (49 bits in a float's 53); ``ep`` follows from the others.
_PLACE = {"attn_dp": 1.0, "tp": 2.0**15, "cp": 2.0**25, "expert_tp": 2.0**35}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeconds:
    """Where the time of one step goes [s]; all pipeline stages together.

    ``exchange`` is the part of dispatch and combine that is not hidden.
    """

    compute: Number
    reduce: Number
    exchange: Number
    host: Number

    @property
    def total(self) -> Number:
        """Seconds of the step through all pipeline stages [s]."""
        return self.compute + self.reduce + self.exchange + self.host


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricer:
    """Everything that stays fixed while candidates vary."""

    precise: Precise
    machine: Machine
    parameters: Parameters
    engine: EngineClass
    imbalance: float | None = None
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
        model, dtypes = self.precise.model, self.precise.dtypes
        imbalance = self.engine.imbalance if self.imbalance is None else self.imbalance
        flags = {"decode": decode, "prefill": prefill}
        parts: list[tuple[Number, Number, Number]] = []
        layers = [(layer, 1.0) for layer in model.layers]
        if decode and self.draft_tokens and model.mtp_layers:
            # Each drafted token is one pass of the MTP module over the same sequences, one query each.
            layers += [(layer, float(self.draft_tokens)) for layer in model.mtp_layers]
        for layer, times in layers:
            work = (
                tokens
                if times == 1.0 and layer in model.layers
                else replace(tokens, queries=1.0, prefill_tokens=0.0)
            )
            parts.append(self._attention(layer, times, work, ranks, flags, model.hidden_size, dtypes))
            parts.append(self._ffn(layer, times, work, ranks, flags, imbalance))
        parts.append(self._head(tokens, ranks))
        compute = _total(part[0] for part in parts)
        reduce = _total(part[1] for part in parts)
        exchange = _total(part[2] for part in parts)
        if np.any(np.asarray(pp) > 1):
            reduce = reduce + (pp - 1.0) * self._hop(tokens, ranks)
        hidden = self.engine.overlap_frac * np.minimum(compute, exchange)
        host = (
            self.engine.step_s * (1.0 + (0.3 * self.draft_tokens if decode else 0.0))
            + self.engine.layer_s * model.num_layers
            + self.engine.sequence_s
            * tokens.decode_sequences  # each attention group has a scheduler of its own
        )
        return StepSeconds(compute=compute, reduce=reduce, exchange=exchange - hidden, host=host)

    def price(self, operators: Iterable[Operator]) -> tuple[Number, Number, Number]:
        """Seconds of compute, of reductions and gathers, and of the expert exchange [s]."""
        parameters = self.engine.in_graph(self.parameters)
        compute: Number = 0.0
        reduce: Number = 0.0
        exchange: Number = 0.0
        for operator in operators:
            spent = operator.count * seconds(operator, self.machine, parameters, self.engine)
            if not isinstance(operator, Collective):
                compute = compute + spent
            elif operator.kind == "all_to_all":
                exchange = exchange + spent
            else:
                reduce = reduce + spent
        return compute, reduce, exchange

    def _attention(
        self, layer: Layer, times: float, tokens: Tokens, ranks: Ranks, flags: Any, hidden: int, dtypes: Any
    ) -> Any:
        def run(ranks: Ranks, tokens: Tokens, machine: Machine) -> Any:
            operators = lower_attention(layer, tokens, ranks, dtypes, hidden, **flags)
            return replace(self, machine=machine).price(operators)

        return _scaled(self._distinct(run, tokens, ranks, ("tp", "cp")), times)

    def _ffn(
        self, layer: Layer, times: float, tokens: Tokens, ranks: Ranks, flags: Any, imbalance: float
    ) -> Any:
        columns = ("tp", "cp", "attn_dp", "expert_tp") if layer.experts else ("tp", "cp")

        def run(ranks: Ranks, tokens: Tokens, machine: Machine) -> Any:
            # Where each device holds a slice of every expert there is nothing to be uneven about.
            uneven = 1.0 + (imbalance - 1.0) * (ranks.ep > 1.5)
            operators = lower_ffn(
                layer,
                tokens,
                ranks,
                self.precise.dtypes,
                self.precise.model.hidden_size,
                imbalance=uneven,
                **flags,
            )
            return replace(self, machine=machine).price(operators)

        return _scaled(self._distinct(run, tokens, ranks, columns), times)

    def _head(self, tokens: Tokens, ranks: Ranks) -> Any:
        def run(ranks: Ranks, tokens: Tokens, machine: Machine) -> Any:
            operators = lower_head(self.precise.model, tokens, ranks, self.precise.dtypes)
            return replace(self, machine=machine).price(operators)

        return self._distinct(run, tokens, ranks, ("tp", "cp"))

    def _hop(self, tokens: Tokens, ranks: Ranks) -> Number:
        rows = tokens.decode_tokens + tokens.prefill_tokens / ranks.cp
        message = rows * self.precise.model.hidden_size * 2.0 / ranks.tp
        hop = Collective(
            name="stage",
            group="other",
            kind="point_to_point",
            count=1.0,
            bytes_out=message,
            ranks=2.0,
            stride=ranks.width,
        )
        return seconds(hop, self.machine, self.parameters, self.engine)

    def _distinct(
        self,
        run: Callable[[Ranks, Tokens, Machine], Any],
        tokens: Tokens,
        ranks: Ranks,
        columns: Sequence[str],
    ) -> tuple[Number, Number, Number]:
        # Price each distinct combination of the columns that matter once, then gather rows.
        wide = np.shape(ranks.tp)
        if not wide or wide[0] < 8 or not _rowless(tokens) or np.ndim(self.machine.bandwidth):
            return run(ranks, tokens, self.machine)
        code = sum(getattr(ranks, name)[:, 0] * _PLACE[name] for name in columns)
        _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
        if len(first) == wide[0]:
            return run(ranks, tokens, self.machine)
        few = Ranks(
            **{
                name: np.asarray(getattr(ranks, name), dtype=float)[first]
                for name in Ranks.__dataclass_fields__
            }
        )
        priced = run(few, tokens, self.machine)
        return tuple(
            np.broadcast_to(part, (len(first), *np.shape(part)[1:]))[inverse] if np.ndim(part) else part
            for part in priced
        )  # type: ignore[return-value]


def _rowless(tokens: Tokens) -> bool:
    return all(
        np.ndim(value) < 2 or np.shape(value)[0] == 1
        for value in (getattr(tokens, name) for name in Tokens.__dataclass_fields__)
    )


def _total(values: Iterable[Number]) -> Number:
    total: Number = 0.0
    for value in values:
        total = total + value
    return total


def _scaled(parts: tuple[Number, Number, Number], times: float) -> tuple[Number, Number, Number]:
    return parts if times == 1.0 else (parts[0] * times, parts[1] * times, parts[2] * times)


def tokens_per_step(draft_tokens: int, acceptance: float) -> float:
    """Expected output tokens of one sequence per step under speculation [token].

    Notes
    -----
    A draft token counts only if all before it were accepted: ``1 + a + a^2 + ... + a^k``.

    References
    ----------
    Leviathan et al., Fast Inference from Transformers via Speculative Decoding, arXiv 2211.17192, equation 1.
    """
    return float(sum(acceptance**i for i in range(draft_tokens + 1)))
