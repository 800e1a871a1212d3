"""Turns rows of arrays into the records that are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dougong.calibration.intervals import Band, band
from dougong.catalog.hardware import System
from dougong.cost.step import Pricer
from dougong.ops import Ranks, Tokens
from dougong.plan.breakdown import breakdown
from dougong.plan.launcher import Launches
from dougong.plan.money import Rates
from dougong.plan.rank import Chips, chips_counted, chips_in_use
from dougong.plan.search import Deployments
from dougong.plan.serving import chunk_tokens, decode_tokens, prefill_tokens
from dougong.plan.space import Space, memory_record
from dougong.plan.types import Interval, Option, PlanRequest, Pool
from dougong.workload import Workload

Array = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One model on one system: what every option of it shares."""

    system: System
    pricer: Pricer
    decode_space: Space
    prefill_space: Space
    rates: Rates
    devices: int
    acceptance: float
    bands: Mapping[str, Band] = field(default_factory=dict[str, Band])  # of a calibration of one's own
    launches: Launches = field(default_factory=Launches)

    @property
    def chips(self) -> Chips:
        """What is at hand, in chips."""
        each = float(self.pricer.machine.devices_per_chip)
        return Chips(self.devices / each, each)

    def interval(self, metric: str, value: float) -> Interval:
        """The prediction with the range it is believed in; see :mod:`dougong.calibration.intervals`."""
        ends = self.bands.get(metric) or band(metric, self.pricer.engine.id, self.system.chip.id)
        return Interval(value, value * ends.low, value * ends.high)


def option_of(scene: Scene, found: Deployments, i: int, request: PlanRequest) -> Option:
    """The record of deployment ``i``."""
    workload, used = request.workload, found.devices[i]
    chips = float(chips_in_use(used, scene.chips))
    counted = float(chips_counted(used, request, scene.chips))
    rate = float(found.requests_per_s[i])
    output = rate * workload.output_tokens
    rates = scene.rates
    dollars = None if rates.usd_per_chip_s is None else rates.usd_per_chip_s * counted / output * 1e6
    joules = None if rates.watts_per_chip is None else rates.watts_per_chip * chips / output
    power = None if joules is None or rates.usd_per_j is None else joules * rates.usd_per_j * 1e6
    grams = None if joules is None or rates.grams_per_j is None else joules * rates.grams_per_j * 1e6
    ttft, tpot = float(found.ttft_s[i]), float(found.tpot_s[i])
    return Option(
        system=scene.system.id,
        mode=found.mode,
        pools=_pools(scene, found, i, workload),
        chips=chips,
        chips_counted=counted,
        users=float(found.users[i]),
        ttft_s=scene.interval("ttft_s", ttft),
        tpot_s=scene.interval("tpot_s", tpot),
        output_tokens_per_s_per_chip=scene.interval("throughput", output / counted),
        output_tokens_per_s=scene.interval("throughput", output),
        requests_per_s=rate,
        kv_transfer_s=float(found.transfer_s[i]),
        usd_per_million_output_tokens=dollars,
        electricity_usd_per_million_output_tokens=power,
        watts_per_chip=rates.watts_per_chip,
        joules_per_output_token=joules,
        grams_co2e_per_million_output_tokens=grams,
        meets=meets(ttft, tpot, request),
    )


def meets(ttft_s: float, tpot_s: float, request: PlanRequest) -> bool:
    """Whether mean latencies keep the limits."""
    limit = request.limit
    return (limit.ttft_s is None or ttft_s <= limit.ttft_s) and (
        limit.tpot_s is None or tpot_s <= limit.tpot_s
    )


def _pools(scene: Scene, found: Deployments, i: int, workload: Workload) -> tuple[Pool, ...]:
    per_chip = float(scene.pricer.machine.devices_per_chip)
    row, batch = int(found.decode.row[i]), float(found.decode.batch[i])
    layout = scene.decode_space.table.layout(row)
    replicas = int(found.decode_replicas[i])
    capacity = replicas * float(found.decode.requests_per_s[i])
    decode = Pool(
        phase="both" if found.prefill is None else "decode",
        layout=layout,
        replicas=replicas,
        chips=replicas * layout.devices / per_chip,
        sequences_per_replica=float(found.decode.users[i]),
        tokens_per_step=batch * layout.attn_dp * (1 + scene.pricer.draft_tokens),
        step_s=float(found.decode.step_s[i]),
        memory=memory_record(scene.decode_space.prints, row, batch),
        utilisation=float(found.requests_per_s[i]) / capacity,
    )
    if found.prefill is None:
        return (decode,)
    row, tokens = int(found.prefill.row[i]), float(found.prefill.batch[i])
    layout = scene.prefill_space.table.layout(row)
    replicas = int(found.prefill_replicas[i])
    prompts = max(tokens / workload.prompt_tokens, 1.0)
    prefill = Pool(
        phase="prefill",
        layout=layout,
        replicas=replicas,
        chips=replicas * layout.devices / per_chip,
        sequences_per_replica=prompts * layout.attn_dp * layout.pp,
        tokens_per_step=tokens * layout.attn_dp,
        step_s=float(found.prefill.step_s[i]),
        memory=memory_record(scene.prefill_space.prints, row, prompts),
        utilisation=float(found.requests_per_s[i]) / (replicas * float(found.prefill.requests_per_s[i])),
    )
    return (prefill, decode)


def with_steps(scene: Scene, option: Option, workload: Workload) -> Option:
    """Add the operator breakdown of each pool's steps to an option."""
    return replace(option, pools=tuple(_with_steps(scene, pool, workload) for pool in option.pools))


def _with_steps(scene: Scene, pool: Pool, workload: Workload) -> Pool:
    layout, pricer = pool.layout, scene.pricer
    ranks = Ranks(
        tp=layout.tp, cp=layout.cp, attn_dp=layout.attn_dp, ep=layout.ep, expert_tp=layout.expert_tp
    )
    if pool.phase == "prefill":
        tokens = prefill_tokens(workload, pool.tokens_per_step / layout.attn_dp)
        return replace(
            pool, steps=(breakdown(pricer, "prefill", ranks, layout.pp, tokens, decode=False, prefill=True),)
        )
    batch = pool.sequences_per_replica / (layout.attn_dp * layout.pp)
    prompt = prefill_tokens(workload, float(chunk_tokens(pricer, workload, batch, scene.acceptance)))
    if workload.output_tokens <= 1:
        return replace(
            pool, steps=(breakdown(pricer, "prefill", ranks, layout.pp, prompt, decode=False, prefill=True),)
        )
    decode = decode_tokens(workload, batch, pricer.draft_tokens)
    steps = [breakdown(pricer, "decode", ranks, layout.pp, decode, decode=True, prefill=False)]
    if pool.phase == "both":
        mixed = Tokens(
            decode_sequences=decode.decode_sequences,
            queries=decode.queries,
            context=decode.context,
            prefill_tokens=prompt.prefill_tokens,
            prefill_context=prompt.prefill_context,
            prefill_sequences=prompt.prefill_sequences,
        )
        steps.append(breakdown(pricer, "mixed", ranks, layout.pp, mixed, decode=True, prefill=True))
    return replace(pool, steps=tuple(steps))
