"""From seconds of steps to what a user feels: TPOT, TTFT and throughput of a replica in steady state.

Notes
-----
``b`` sequences per attention group decode together; each of a request's ``O`` output tokens costs ``1 / m`` steps,
``m`` the tokens per step under speculation. Co-located: while one request decodes, the ``b - 1`` others of its group
each bring ``C`` prompt chunks, and a step with a chunk takes ``t_mixed`` instead of ``t_decode``:

``duration = (O / m) ((1 - s) t_decode + s t_mixed)``, ``s = (b - 1) C m / O``. Where that exceeds 1 all steps are
mixed, prompts bound the rate at ``1 / (C t_mixed)``, and requests wait for their first token.

Attention groups that share experts step together: a prompt in any of them holds up all, and ``s`` becomes
``1 - (1 - s) (1 - s_all)^(lambda (groups - 1))``, lambda the engine class's lockstep.

Waiting for the prompt's turn is that of a single server with steady service at load ``rho``: ``rho / (2 (1 - rho))``
services (Pollaczek–Khinchine with deterministic service). Throughput is users over residence (Little's law).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from dougong.cost.arrays import choose
from dougong.cost.step import Pricer, StepSeconds, tokens_per_step
from dougong.ops import Ranks, Tokens
from dougong.ops.operators import Number


class Shape(Protocol):
    """A workload's lengths, as numbers or columns: what :class:`dougong.workload.Workload` has."""

    @property
    def prompt_tokens(self) -> Number:
        """Tokens in per request [token]."""
        ...

    @property
    def output_tokens(self) -> Number:
        """Tokens out per request [token]."""
        ...

    @property
    def computed_prompt_tokens(self) -> Number:
        """Prompt tokens no prefix cache holds [token]."""
        ...

    @property
    def mean_decode_context(self) -> Number:
        """Mean cached tokens while decoding [token]."""
        ...


MAX_LOAD = 0.95
"""Waiting is evaluated at most at this load: a closed loop keeps it finite, an open loop must stay below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Steady state of one replica; arrays broadcast over candidates."""

    ttft_s: Number
    tpot_s: Number
    requests_per_s: Number  # of one replica
    users: Number  # in flight in one replica
    step_s: Number  # the step that repeats most
    prompt_s: Number = 0.0  # an attention group's time for one prompt [s]
    decode_step: StepSeconds | None = None
    prefill_step: StepSeconds | None = None


def _queue(load: Number) -> Number:
    load = np.minimum(load, MAX_LOAD)
    return load / (2.0 * (1.0 - load))


def decode_tokens(workload: Shape, batch: Number, draft_tokens: int) -> Tokens:
    """A decode step of ``batch`` sequences per attention group at their mean context."""
    return Tokens(decode_sequences=batch, queries=1.0 + draft_tokens, context=workload.mean_decode_context)


def prefill_tokens(workload: Shape, tokens: Number) -> Tokens:
    """A step that computes ``tokens`` prompt tokens per attention group.

    The mean prompt token attends to the cached prefix and half of what is computed.
    """
    computed = workload.computed_prompt_tokens
    cached = workload.prompt_tokens - computed
    return Tokens(
        prefill_tokens=tokens,
        prefill_context=cached + computed / 2 + 0.0 * tokens,
        prefill_sequences=tokens / computed,
    )


def decode_pool(
    pricer: Pricer, ranks: Ranks, pp: Number, workload: Shape, batch: Number, acceptance: float
) -> Served:
    """Decode only: what a decode pool does after prefill elsewhere."""
    m = tokens_per_step(pricer.draft_tokens, acceptance)
    step = pricer.step(
        ranks, pp, decode_tokens(workload, batch, pricer.draft_tokens), decode=True, prefill=False
    )
    tpot = step.total / m
    users = batch * ranks.attn_dp * pp
    return Served(
        ttft_s=0.0 * tpot,
        tpot_s=tpot,
        requests_per_s=users / (np.maximum(workload.output_tokens - 1.0, 1.0) * tpot),
        users=users,
        step_s=step.total,
        decode_step=step,
    )


def prefill_pool(
    pricer: Pricer, ranks: Ranks, pp: Number, workload: Shape, tokens: Number, load: float
) -> Served:
    """Prefill only: ``tokens`` prompt tokens per attention group and step, pool kept at ``load``."""
    step = pricer.step(ranks, pp, prefill_tokens(workload, tokens), decode=False, prefill=True)
    computed = workload.computed_prompt_tokens
    steps = np.maximum(computed / tokens, 1.0)
    # Stages work on different steps at once: one step leaves every total/pp seconds.
    service = step.total * (1.0 + (steps - 1.0) / pp)
    rate = tokens * ranks.attn_dp / computed * pp / step.total
    ttft = pricer.engine.request_s + service + _queue(load) * steps * step.total / pp
    return Served(
        ttft_s=ttft,
        tpot_s=0.0 * ttft,
        requests_per_s=rate,
        users=rate * ttft,
        step_s=step.total,
        prefill_step=step,
    )


def mixed_shares(
    batch: Number, chunks: Number, steps: Number, groups: Number, lockstep: Number
) -> tuple[Number, Number, Number]:
    """How often a decoding request meets a step with prompt tokens.

    Parameters
    ----------
    batch
        Requests of one attention group [request].
    chunks
        Steps one prompt takes; below one where prompts share a step [1].
    steps
        Decode steps of one request [1].
    groups
        Attention groups that step together [1].
    lockstep
        0: all take their prompts in the same steps; 1: each when it comes [1].

    Returns
    -------
    tuple
        Share of a request's decode steps that are mixed; share of all steps that are; and a group's own load of
        prompts, above 1 where requests come faster than their prompts can be computed [1].
    """
    others = np.maximum(batch - 1.0, 0.0) * chunks / steps
    each = batch * chunks / steps
    quiet = np.maximum(1.0 - each, 0.0) ** (lockstep * (groups - 1.0))
    share = 1.0 - np.maximum(1.0 - others, 0.0) * quiet
    return share, 1.0 - np.maximum(1.0 - each, 0.0) * quiet, each


def chunk_tokens(pricer: Pricer, workload: Shape, batch: Number, acceptance: float) -> Number:
    """Prompt tokens of a step that has some, per attention group [token].

    Prompts that arrive within one step share it, up to the engine's token budget.
    """
    steps_per_request = np.maximum(
        workload.output_tokens / tokens_per_step(pricer.draft_tokens, acceptance), 1.0
    )
    arriving = np.maximum(batch / steps_per_request, 1.0)
    return np.minimum(workload.computed_prompt_tokens * arriving, pricer.engine.prefill_step_tokens)


def colocated(
    pricer: Pricer, ranks: Ranks, pp: Number, workload: Shape, batch: Number, acceptance: float
) -> Served:
    """Prefill chunks and decode share every replica."""
    m = tokens_per_step(pricer.draft_tokens, acceptance)
    computed = workload.computed_prompt_tokens
    # One output token is the prompt's own: nothing decodes.
    decodes = np.asarray(workload.output_tokens) > 1.0
    decode = decode_tokens(workload, batch, pricer.draft_tokens)
    steps_per_request = np.maximum(workload.output_tokens / m, 1.0)
    chunk = chunk_tokens(pricer, workload, batch, acceptance)
    chunks = computed / chunk
    share, anywhere, each = mixed_shares(
        batch, chunks, steps_per_request, ranks.attn_dp, pricer.engine.lockstep_frac
    )
    prompt = prefill_tokens(workload, chunk)
    mixed = Tokens(
        decode_sequences=batch * choose(decodes, 1.0, 0.0),
        queries=decode.queries,
        context=decode.context,
        prefill_tokens=prompt.prefill_tokens,
        prefill_context=prompt.prefill_context,
        prefill_sequences=prompt.prefill_sequences,
        prefill_share=np.minimum(each / np.maximum(anywhere, 1e-12), 1.0),
    )
    plain = pricer.step(ranks, pp, decode, decode=True, prefill=False)
    both = pricer.step(ranks, pp, mixed, decode=bool(decodes.any()), prefill=True)
    tpot: Number = steps_per_request * (plain.total + share * (both.total - plain.total))
    tpot = tpot / workload.output_tokens
    tpot = choose(decodes, tpot, 0.0)
    own = np.maximum(chunks, 1.0) * both.total
    waiting = _queue(np.minimum(each, 1.0)) * (1.0 - 1.0 / np.maximum(batch, 1.0))
    ttft = pricer.engine.request_s + choose(decodes, 0.5 * plain.total, 0.0) + own * (1.0 + waiting)
    # Prompts are computed one after the other: what a group cannot decode meanwhile waits for its first token.
    ttft = np.maximum(ttft, batch * chunks * both.total - (workload.output_tokens - 1.0) * tpot)
    users = batch * ranks.attn_dp * pp
    return Served(
        ttft_s=ttft,
        tpot_s=tpot,
        requests_per_s=users / (ttft + (workload.output_tokens - 1.0) * tpot),
        users=users,
        step_s=choose(decodes, plain.total, both.total),
        prompt_s=chunks * both.total,
        decode_step=plain,
        prefill_step=both,
    )


def together(
    pricer: Pricer, ranks: Ranks, pp: Number, workload: Shape, batch: Number, acceptance: float
) -> Served:
    """One batch whose requests start together, and none comes after: prompts first, then their answers.

    Notes
    -----
    ``n`` steps of the engine's token budget compute the prompts, beside the answers of those that are through; then all
    decode: ``n t_mixed + (O / m - 1) t_decode``. The mean request has its first token half way through the prompts.
    """
    m = tokens_per_step(pricer.draft_tokens, acceptance)
    prompts = batch * workload.computed_prompt_tokens
    chunk = np.minimum(prompts, np.maximum(pricer.engine.prefill_step_tokens, 1.0))
    bulk = prefill_tokens(workload, chunk)
    through = replace(
        decode_tokens(workload, np.maximum(batch / 2.0, 1.0), pricer.draft_tokens),
        prefill_tokens=bulk.prefill_tokens,
        prefill_context=bulk.prefill_context,
        prefill_sequences=bulk.prefill_sequences,
    )
    steps = np.ceil(prompts / chunk - 1e-9)
    decode = decode_tokens(workload, batch, pricer.draft_tokens)
    plain = pricer.step(ranks, pp, decode, decode=True, prefill=False)
    first = pricer.step(ranks, pp, bulk, decode=False, prefill=True)
    both = pricer.step(ranks, pp, through, decode=True, prefill=True)
    # The first step has no answers beside it; a last one that is not full takes its share.
    prompt_s = first.total + np.maximum(prompts / chunk - 1.0, 0.0) * both.total
    ttft = pricer.engine.request_s + prompt_s * (steps + 1.0) / (2.0 * steps)
    rest = np.maximum(workload.output_tokens / m - 1.0, 0.0) * plain.total
    whole = pricer.engine.request_s + prompt_s + rest
    users = batch * ranks.attn_dp * pp
    return Served(
        ttft_s=ttft,
        tpot_s=(rest + (prompt_s + pricer.engine.request_s - ttft))
        / np.maximum(workload.output_tokens - 1.0, 1.0),
        requests_per_s=users / whole,
        users=users,
        step_s=plain.total,
        decode_step=plain,
        prefill_step=both,
    )
