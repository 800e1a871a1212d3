"""What a given deployment does: its own layout, its own batch, no search. Many at once, as columns.

This is the door for measurements: the same formulas as the search, asked about one point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dougong.calibration import Parameters
from dougong.calibration.engines import EngineClass, engine_classes
from dougong.catalog.hardware import System
from dougong.catalog.models import Model
from dougong.cost.arrays import choose
from dougong.cost.machine import Machine, machine_of, stack
from dougong.cost.precision import Precise, apply
from dougong.cost.step import Pricer
from dougong.ops import Ranks
from dougong.plan.question import Answer, Question
from dougong.plan.serving import Served, colocated, decode_pool, prefill_pool, together
from dougong.plan.space import BATCHES, memory_of
from dougong.plan.types import Layout

Array = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Lengths of many questions as columns ``[n, 1]``."""

    prompt_tokens: Array
    output_tokens: Array
    computed_prompt_tokens: Array
    mean_decode_context: Array
    full_context: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Questions that share one array program: same model and dtypes, engine class, mode and drafting."""

    index: tuple[int, ...]  # into the questions
    questions: tuple[Question, ...]
    precise: Precise
    machine: Machine
    shape: Columns


def prepare(
    questions: Sequence[Question], models: Mapping[str, Model], systems: Mapping[str, System]
) -> list[Prepared]:
    """Group questions into array programs; reading figures and dtypes happens here, once.

    Raises
    ------
    InputError
        From the catalog's figures: an unknown that a formula needs.
    """
    machines = {name: machine_of(system) for name, system in systems.items()}
    groups: dict[Any, list[int]] = {}
    precise: dict[Any, Precise] = {}
    for i, question in enumerate(questions):
        chosen = apply(
            models[question.model], question.precision, systems[question.system].chip, question.kv_dtype
        )
        saturated = question.saturated and question.batch is None
        key = (
            question.model,
            str(question.precision),
            tuple(sorted(chosen.dtypes.compute.items())),
            chosen.dtypes.kv,
            chosen.dtypes.attention,
            question.engine,
            question.mode,
            question.draft_tokens,
            question.acceptance,
            question.imbalance,
            question.micro_batches,
            saturated,
        )
        groups.setdefault(key, []).append(i)
        precise[key] = chosen
    out: list[Prepared] = []
    for key, index in groups.items():
        mine = tuple(questions[i] for i in index)
        names = sorted({question.system for question in mine})
        rows = np.array([names.index(question.system) for question in mine])
        out.append(
            Prepared(
                index=tuple(index),
                questions=mine,
                precise=precise[key],
                machine=stack([machines[name] for name in names], rows),
                shape=_columns(mine),
            )
        )
    return out


def _column(values: Sequence[float]) -> Array:
    return np.asarray(values, dtype=float)[:, None]


def _columns(questions: Sequence[Question]) -> Columns:
    prompt = _column([question.prompt_tokens for question in questions])
    output = _column([question.output_tokens for question in questions])
    stated = _column(
        [np.nan if question.context_tokens is None else question.context_tokens for question in questions]
    )
    hits = _column([question.prefix_hit_frac for question in questions])
    return Columns(
        prompt_tokens=prompt,
        output_tokens=output,
        computed_prompt_tokens=np.maximum(prompt * (1 - hits), 1.0),
        mean_decode_context=choose(np.isnan(stated), prompt + output / 2, stated),
        full_context=choose(np.isnan(stated), prompt + output, np.maximum(stated, prompt)),
    )


def ranks_of(layouts: Sequence[Layout]) -> tuple[Ranks, Array]:
    """Columns of degrees and of pipeline stages."""
    names = ("tp", "cp", "attn_dp", "ep", "expert_tp")
    ranks = Ranks(**{name: _column([getattr(layout, name) for layout in layouts]) for name in names})
    return ranks, _column([layout.pp for layout in layouts])


def answer(
    prepared: Prepared, parameters: Parameters | None = None, engines: Mapping[str, EngineClass] | None = None
) -> list[Answer]:
    """Answer every question of one array program."""
    first = prepared.questions[0]
    engine = first.of((engines or engine_classes())[first.engine])
    pricer = Pricer(
        precise=prepared.precise,
        machine=prepared.machine,
        parameters=parameters or Parameters.load(),
        engine=engine,
        imbalance=first.imbalance,
        draft_tokens=first.draft_tokens,
    )
    run = {
        "prefill": _prefill_only,
        "decode": _decode_only,
        "colocated": _colocated,
        "disaggregated": _disaggregated,
    }
    columns = run[first.mode](pricer, prepared)
    count = len(prepared.questions)
    flat = {name: np.broadcast_to(value, (count, 1))[:, 0].tolist() for name, value in columns.items()}
    return [Answer(**{name: values[i] for name, values in flat.items()}) for i in range(count)]


def evaluate(
    questions: Sequence[Question],
    models: Mapping[str, Model],
    systems: Mapping[str, System],
    parameters: Parameters | None = None,
    engines: Mapping[str, EngineClass] | None = None,
) -> list[Answer]:
    """Answer questions in their order."""
    out: list[Answer | None] = [None] * len(questions)
    for prepared in prepare(questions, models, systems):
        for i, given in zip(prepared.index, answer(prepared, parameters, engines), strict=True):
            out[i] = given
    return [given for given in out if given is not None]


def _chips(prepared: Prepared, which: str) -> Array:
    layouts = [getattr(question, which) for question in prepared.questions]
    replicas = _column([getattr(question, f"{which}_replicas") for question in prepared.questions])
    return _column([layout.devices for layout in layouts]) * replicas / prepared.machine.devices_per_chip


def _step_tokens(pricer: Pricer, prepared: Prepared) -> Array:
    budget = pricer.engine.prefill_step_tokens
    stated = [
        np.nan if question.step_tokens is None else question.step_tokens for question in prepared.questions
    ]
    # Without a word on it, short prompts are batched up to the engine's budget, long ones are cut by it.
    return choose(np.isnan(_column(stated)), budget, _column(stated))


def _prefill_only(pricer: Pricer, prepared: Prepared) -> dict[str, Array]:
    questions, shape = prepared.questions, prepared.shape
    ranks, pp = ranks_of([question.prefill or Layout() for question in questions])
    replicas = _column([question.prefill_replicas for question in questions])
    users = _column([np.nan if question.users is None else question.users for question in questions])
    tokens = _step_tokens(pricer, prepared)
    # A few users cannot fill the budget.
    tokens = choose(
        np.isnan(users),
        tokens,
        np.minimum(
            tokens, np.maximum(users / (replicas * ranks.attn_dp), 1.0) * shape.computed_prompt_tokens
        ),
    )
    served = prefill_pool(pricer, ranks, pp, shape, tokens, 0.0)
    rate = replicas * served.requests_per_s
    # All users' prompts queue for the pool; the mean request waits for half of the others.
    queue = choose(np.isnan(users), 0.0, np.maximum(users / rate - served.ttft_s, 0.0) / 2.0)
    return {
        "ttft_s": served.ttft_s + queue,
        "prefill_tokens_per_s_per_chip": rate * shape.prompt_tokens / _chips(prepared, "prefill"),
        "prefill_step_s": served.step_s,
    }


def _room(pricer: Pricer, prepared: Prepared, ranks: Ranks, pp: Array) -> Array:
    # Sequences per attention group that the cache holds; at least one, since the measured run did run.
    class _Longest:
        full_context = prepared.shape.full_context

    prints = memory_of(pricer, ranks, pp, _Longest, pricer.engine.prefill_step_tokens)  # type: ignore[arg-type]
    return np.maximum(prints.sequences, 1.0)


def _batch(prepared: Prepared, ranks: Ranks, pp: Array, room: Array) -> tuple[Array, Array]:
    # (sequences per attention group and micro-batch, requests in flight or NaN)
    questions = prepared.questions
    stated = _column([np.nan if question.batch is None else question.batch for question in questions])
    users = _column([np.nan if question.users is None else question.users for question in questions])
    replicas = _column([question.decode_replicas for question in questions])
    wanted = choose(np.isnan(stated), users / (replicas * ranks.attn_dp * pp), stated)
    return np.maximum(choose(np.isnan(stated), np.minimum(wanted, room), wanted), 1.0), users


def _saturating(served: Served, batch: Array, room: Array, latest: Array) -> Array:
    # The column of the batch that yields most among those that fit.
    rate = choose(batch <= np.minimum(room, latest), served.requests_per_s, -1.0)
    return np.argmax(rate, axis=1)[:, None]


def _pick(value: Any, column: Array, shape: tuple[int, ...]) -> Array:
    return np.take_along_axis(np.broadcast_to(value, shape), column, axis=1)


def _decode_only(pricer: Pricer, prepared: Prepared) -> dict[str, Array]:
    questions, shape = prepared.questions, prepared.shape
    ranks, pp = ranks_of([question.decode or Layout() for question in questions])
    replicas = _column([question.decode_replicas for question in questions])
    room = _room(pricer, prepared, ranks, pp)
    acceptance = questions[0].acceptance
    if questions[0].saturated and questions[0].batch is None:
        batch = BATCHES[None, :]
        served = decode_pool(pricer, ranks, pp, shape, batch, acceptance)
        column = _saturating(served, batch, room, 2048.0)
        size = np.broadcast_shapes(np.shape(served.tpot_s), (len(questions), batch.shape[1]))
        tpot, rate, chosen = (
            _pick(value, column, size) for value in (served.tpot_s, served.requests_per_s, batch)
        )
        step = _pick(served.step_s, column, size)
    else:
        chosen, _ = _batch(prepared, ranks, pp, room)
        served = decode_pool(pricer, ranks, pp, shape, chosen, acceptance)
        tpot, rate, step = served.tpot_s, served.requests_per_s, served.step_s
    tokens = replicas * chosen * ranks.attn_dp * pp / tpot
    del rate
    return {
        "tpot_s": tpot,
        "decode_tokens_per_s_per_chip": tokens / _chips(prepared, "decode"),
        "batch": chosen,
        "decode_step_s": step,
    }


def _rates(shape: Columns, requests: Array, chips: Array) -> dict[str, Array]:
    output = requests * shape.output_tokens / chips
    return {
        "output_tokens_per_s_per_chip": output,
        "total_tokens_per_s_per_chip": output + requests * shape.prompt_tokens / chips,
    }


def _colocated(pricer: Pricer, prepared: Prepared) -> dict[str, Array]:
    questions, shape = prepared.questions, prepared.shape
    ranks, pp = ranks_of([question.decode or Layout() for question in questions])
    replicas = _column([question.decode_replicas for question in questions])
    room = _room(pricer, prepared, ranks, pp)
    acceptance = questions[0].acceptance
    chips = _chips(prepared, "decode")
    if questions[0].saturated and questions[0].batch is None:
        batch = BATCHES[None, :]
        served = colocated(pricer, ranks, pp, shape, batch, acceptance)
        size = np.broadcast_shapes(np.shape(served.tpot_s), (len(questions), batch.shape[1]))
        column = _saturating(served, batch, room, 2048.0)
        pick = {
            name: _pick(getattr(served, name), column, size)
            for name in ("ttft_s", "tpot_s", "requests_per_s", "step_s")
        }
        requests = replicas * pick["requests_per_s"]
        return {
            "ttft_s": pick["ttft_s"],
            "tpot_s": pick["tpot_s"],
            "batch": _pick(batch, column, size),
            "decode_step_s": pick["step_s"],
            "limited_by_cache": _pick(batch, column, size) * 1.1 > room,
            **_rates(shape, requests, chips),
        }
    chosen, users = _batch(prepared, ranks, pp, room)
    served = colocated(pricer, ranks, pp, shape, chosen, acceptance)
    requests = replicas * served.requests_per_s
    inside = replicas * served.users
    # Fewer users than attention groups leave groups idle; more than the cache holds wait outside.
    requests = choose(users < inside, requests * users / inside, requests)
    waiting = choose(users > inside, (users - inside) / requests, 0.0)
    waves = _column([question.waves for question in questions])
    requests = requests * _ending(pricer, prepared, served, chosen, users * waves / np.minimum(users, inside))
    # The mean prompt of the first wave waits for half of its group's prompts.
    first = np.maximum(chosen - 1.0, 0.0) / 2.0 * served.prompt_s / np.maximum(waves, 1.0)
    ttft, tpot = served.ttft_s + waiting + first, served.tpot_s
    alone = (waves <= 1.0) & (users <= inside)
    if np.any(alone):
        once = together(pricer, ranks, pp, shape, chosen, acceptance)
        ttft, tpot = choose(alone, once.ttft_s, ttft), choose(alone, once.tpot_s, tpot)
        requests = choose(alone, once.requests_per_s * users / once.users, requests)
    return {
        "ttft_s": ttft,
        "tpot_s": tpot,
        "batch": chosen,
        "decode_step_s": served.step_s,
        "limited_by_cache": chosen >= room,
        **_rates(shape, requests, chips),
    }


_ENDLESS = 8.0
"""Waves of a run after which its end no longer matters."""


def _ending(pricer: Pricer, prepared: Prepared, served: Served, batch: Array, waves: Array) -> Array:
    """Rate of a run of few waves over that of the same load without end [1].

    Requests of one length that start together end together: the last wave is a full one only by chance, and takes as
    long as its smaller batch does: no less than its share.
    """
    if not np.any(waves < _ENDLESS):
        return np.ones_like(waves)
    ranks, pp = ranks_of([question.decode or Layout() for question in prepared.questions])
    full = np.ceil(waves) - 1.0
    part = np.maximum(batch * (waves - full), 1.0)
    last = colocated(pricer, ranks, pp, prepared.shape, part, prepared.questions[0].acceptance)
    longer = last.users / last.requests_per_s / (served.users / served.requests_per_s)
    return choose(waves < _ENDLESS, np.minimum(waves / (full + longer), 1.0), 1.0)


def _disaggregated(pricer: Pricer, prepared: Prepared) -> dict[str, Array]:
    questions, shape = prepared.questions, prepared.shape
    ranks_d, pp_d = ranks_of([question.decode or Layout() for question in questions])
    ranks_p, pp_p = ranks_of([question.prefill or Layout() for question in questions])
    n_d = _column([question.decode_replicas for question in questions])
    n_p = _column([question.prefill_replicas for question in questions])
    users = _column([np.inf if question.users is None else question.users for question in questions])
    tokens = np.minimum(
        _step_tokens(pricer, prepared),
        np.maximum(users / (n_p * ranks_p.attn_dp), 1.0) * shape.computed_prompt_tokens,
    )
    quiet = replace(pricer, draft_tokens=0)
    bulk = prefill_pool(quiet, ranks_p, pp_p, shape, tokens, 0.0)
    single = prefill_pool(quiet, ranks_p, pp_p, shape, np.minimum(tokens, shape.computed_prompt_tokens), 0.0)
    supply = n_p * bulk.requests_per_s
    room = _room(pricer, prepared, ranks_d, pp_d)
    batch = np.geomspace(0.125, 4096, 160)[None, :]
    served = decode_pool(pricer, ranks_d, pp_d, shape, np.maximum(batch, 1.0), questions[0].acceptance)
    held = n_d * batch * ranks_d.attn_dp * pp_d  # sequences decoding; below one per group, groups idle
    stay = (shape.output_tokens - 1.0) * served.tpot_s
    rate = held / stay
    # Little's law closes the loop: users = rate x (first token + decoding).
    legal = (rate <= supply) & (rate * (single.ttft_s + stay) <= users) & (batch <= np.maximum(room, 1.0))
    column = np.maximum(legal.sum(axis=1) - 1, 0)[:, None]
    size = np.broadcast_shapes(np.shape(rate), (len(questions), batch.shape[1]))
    tpot, stayed, carried, chosen = (
        _pick(value, column, size) for value in (served.tpot_s, stay, rate, batch)
    )
    ttft = choose(np.isfinite(users), np.maximum(users / carried - stayed, single.ttft_s), single.ttft_s)
    chips = _chips(prepared, "decode") + _chips(prepared, "prefill")
    return {
        "ttft_s": ttft,
        "tpot_s": tpot,
        "batch": chosen,
        "decode_step_s": _pick(served.step_s, column, size),
        "prefill_step_s": bulk.step_s,
        "prefill_tokens_per_s_per_chip": supply * shape.prompt_tokens / _chips(prepared, "prefill"),
        "decode_tokens_per_s_per_chip": carried * shape.output_tokens / _chips(prepared, "decode"),
        "limited_by_cache": chosen * 1.1 > room,
        **_rates(shape, carried, chips),
    }
