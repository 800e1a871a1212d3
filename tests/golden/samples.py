"""Hand-built answers about an invented chip: every field is set, and no number of a real product is in it."""

from __future__ import annotations

import dataclasses

from dougong.catalog.hardware import Chip
from dougong.catalog.models import Core, Experts, Layer, Linear, Model
from dougong.facts import Figure, Source, Unknown
from dougong.plan.types import (
    Explanation,
    Family,
    FigureUse,
    Fit,
    FitCell,
    Infeasible,
    Interval,
    Layout,
    Memory,
    OperatorCost,
    Option,
    Plan,
    PlanRequest,
    Pool,
    Refusal,
    Sensitivity,
    StepReport,
)
from dougong.workload import Limit, Workload

DATASHEET = Source(
    id="x1-datasheet",
    title="Example X1 data sheet, issue 3",
    publisher="Example",
    date="2026-02",
    address="https://example.com/x1.pdf",
)
PAPER = Source(id="x1-paper", title="Serving on the X1", publisher="ExampleConf", date="2026")

REQUEST = PlanRequest(
    model="example-moe",
    systems=("example-pod",),
    workload=Workload(prompt_tokens=4096, output_tokens=256, prefix_hit_frac=0.25),
    limit=Limit(ttft_s=2.0, tpot_s=0.05),
    draft_tokens=1,
    acceptance=0.7,
    edition="2026.11",
)


def spread(value: float, frac: float = 0.18) -> Interval:
    return Interval(value, value / (1 + frac), value * (1 + frac))


def figure(key: str, value: float, printed: str, **more: str) -> Figure:
    given = {"source": "x1-datasheet", "grade": "datasheet", "at": "p. 2", "record": "example-x1", **more}
    return Figure(value, printed=printed, key=key, **given)


def operator(name: str, group: str, seconds: float, bound: str, **more: float) -> OperatorCost:
    given = {"count": 58.0, "share": seconds / 0.04731, "flop": 3.1e12, "bytes": 7.7e9, "message_bytes": 0.0}
    given |= {"compute_frac": 0.31, "memory_frac": 0.62} | more
    return OperatorCost(
        name=name,
        group=group,
        kind="gemm",
        seconds=seconds,
        bound=bound,
        dtype="int8",
        formula="max(FLOP / (peak · e), bytes / (bandwidth · e)) + fixed"
        if bound != "scale_up"
        else "α + bytes / β",
        **given,
    )


DECODE_STEP = StepReport(
    phase="decode",
    seconds=0.04731,
    groups={
        "attention": (0.0142, "memory"),
        "experts": (0.0201, "scale_up"),
        "dense_ffn": (0.0031, "memory"),
        "head": (0.0004, "compute"),
        "host": (0.00951, "host"),
    },
    operators=(
        operator("q_down", "attention", 0.0011, "memory", count=61.0),
        operator("decode_attention", "attention", 0.0131, "memory", count=61.0),
        operator("experts_up", "experts", 0.0083, "memory"),
        operator("dispatch", "experts", 0.0118, "scale_up", flop=0.0, compute_frac=0.0, message_bytes=6.2e6),
    ),
)
PREFILL_STEP = StepReport(
    phase="prefill",
    seconds=0.412,
    groups={"attention": (0.141, "compute"), "experts": (0.22, "compute"), "host": (0.051, "host")},
    operators=(operator("prefill_attention", "attention", 0.141, "compute", share=0.342),),
)


def memory(weights: float, kv_cache: float) -> Memory:
    return Memory(
        weights_bytes=weights,
        kv_cache_bytes=kv_cache,
        activations_bytes=2.1e9,
        communication_bytes=0.8e9,
        reserve_bytes=3.0e9,
        capacity_bytes=64 * 2.0**30,
    )


def option(
    tokens_per_s_per_chip: float, *, tpot_s: float = 0.0473, tie: bool = False, meets: bool = True
) -> Option:
    prefill = Pool(
        phase="prefill",
        layout=Layout(attn_dp=32, ep=32),
        replicas=6,
        chips=96,
        sequences_per_replica=32,
        tokens_per_step=98304,
        step_s=0.412,
        memory=memory(24.4e9, 9.6e9),
        utilisation=0.93,
        steps=(PREFILL_STEP,),
    )
    decode = Pool(
        phase="decode",
        layout=Layout(attn_dp=320, ep=320),
        replicas=1,
        chips=160,
        sequences_per_replica=30720,
        tokens_per_step=61440,
        step_s=0.08041,
        memory=memory(19.9e9, 31.3e9),
        utilisation=1.0,
        steps=(DECODE_STEP,),
    )
    return Option(
        system="example-pod",
        mode="disaggregated",
        pools=(prefill, decode),
        chips=256,
        chips_counted=256,
        users=30720,
        ttft_s=spread(0.87, 0.3),
        tpot_s=spread(tpot_s, 0.12),
        output_tokens_per_s_per_chip=spread(tokens_per_s_per_chip),
        output_tokens_per_s=spread(tokens_per_s_per_chip * 256),
        requests_per_s=tokens_per_s_per_chip,
        kv_transfer_s=0.0121,
        usd_per_million_output_tokens=0.2134,
        electricity_usd_per_million_output_tokens=0.0208,
        watts_per_chip=1456.0,
        joules_per_output_token=0.7491,
        grams_co2e_per_million_output_tokens=93.6,
        meets=meets,
        tie=tie,
    )


def colocated(tokens_per_s_per_chip: float) -> Option:
    pool = Pool(
        phase="both",
        layout=Layout(tp=4, attn_dp=16, ep=64),
        replicas=12,
        chips=384,
        sequences_per_replica=768,
        tokens_per_step=768,
        step_s=0.046,
        memory=memory(30.0e9, 20.0e9),
        utilisation=1.0,
        steps=(DECODE_STEP, PREFILL_STEP),
    )
    return Option(
        system="example-pod",
        mode="colocated",
        pools=(pool,),
        chips=384,
        chips_counted=384,
        users=9216,
        ttft_s=spread(1.4, 0.3),
        tpot_s=spread(0.0488, 0.12),
        output_tokens_per_s_per_chip=spread(tokens_per_s_per_chip),
        output_tokens_per_s=spread(tokens_per_s_per_chip * 384),
        requests_per_s=3.1,
        kv_transfer_s=0.0,
        usd_per_million_output_tokens=None,
        electricity_usd_per_million_output_tokens=None,
        watts_per_chip=None,
        joules_per_output_token=None,
        grams_co2e_per_million_output_tokens=None,
        meets=True,
    )


REFUSALS = (
    Refusal(
        reason="memory",
        count=1203,
        example="TP1 DP8 EP8",
        detail="needs 91.3 GB per device, has 61.8 GB: weights 84.0 GB, KV 4.1 GB",
        remedy="more devices per replica (--chips), or a narrower precision (--precision int4)",
    ),
    Refusal(
        reason="heads",
        count=40,
        example="TP256",
        detail="128 heads do not split 256 ways",
        remedy="a smaller tensor-parallel degree",
    ),
)
FIGURES = (
    FigureUse(figure=figure("compute.int8.dense", 1.504e15, "1504 TOPS", per="package"), source=DATASHEET),
    FigureUse(
        figure=figure(
            "memory.capacity",
            137438953472.0,
            "128 GB",
            read_as="128 GiB",
            why="the driver reports 131072 MiB",
        ),
        source=DATASHEET,
    ),
    FigureUse(
        figure=figure(
            "links.scale_up.bandwidth",
            3.92e11,
            "392 GB/s",
            source="x1-paper",
            grade="paper",
            at="Table 3",
            direction="one-way",
        ),
        source=PAPER,
    ),
    FigureUse(
        figure=figure("power.all_in", 559e3, "559 kW", source="x1-talk", grade="vendor-talk", at=""),
        source=None,
    ),
)

PLAN = Plan(
    request=REQUEST,
    options=(option(1943.0), option(1902.0, tie=True), colocated(1210.0)),
    pareto=(option(410.0, tpot_s=0.0181), option(1204.0, tpot_s=0.0312), option(1943.0)),
    refusals=REFUSALS,
    explanation=Explanation(
        binding="the TPOT limit of 50 ms",
        measure="tokens/s per chip",
        sensitivities=(
            Sensitivity(knob="memory bandwidth", gain_frac=0.031),
            Sensitivity(knob="scale-up bandwidth", gain_frac=0.042, note="dispatch and combine"),
            Sensitivity(knob="memory capacity", gain_frac=0.0),
        ),
        families=(
            Family(
                name="co-located",
                best_tokens_per_s_per_chip=1210.0,
                verdict="prompt chunks lengthen the step",
            ),
        ),
        ties=1,
    ),
    candidates=184_320,
    elapsed_s=0.42,
    model_name="Example MoE",
    precision_note="weights int8, KV cache bf16, from the checkpoint",
    notes=("Idle chips: 128 of 384 are not used.",),
    figures=FIGURES,
    worst_grade="vendor-talk",
    edition="2026.11",
    fingerprint="8d1f0c2a",
)

INFEASIBLE = Infeasible(
    request=REQUEST,
    refusals=REFUSALS,
    nearest=option(1943.0, tpot_s=0.0612, meets=False),
    candidates=184_320,
    elapsed_s=0.31,
    notes=("All layouts were tried on all 384 chips.",),
    figures=FIGURES[:1],
    edition="2026.11",
)

FIT = Fit(
    models=("example-moe", "example-dense"),
    systems=("example-pod", "example-x1", "example-y2"),
    cells={
        (cell.model, cell.system): cell
        for cell in (
            FitCell(
                model="example-moe",
                system="example-pod",
                verdict="fits",
                tokens_per_s_per_chip=1943.0,
                chips=256,
                layout="DP320 EP320",
            ),
            FitCell(
                model="example-moe",
                system="example-x1",
                verdict="does-not-fit",
                detail="needs 671 GB, has 128 GB",
            ),
            FitCell(
                model="example-moe",
                system="example-y2",
                verdict="unknown-figure",
                detail="memory.bandwidth is unknown",
            ),
            FitCell(
                model="example-dense",
                system="example-pod",
                verdict="fits",
                tokens_per_s_per_chip=812.4,
                chips=384,
                layout="TP8",
            ),
            FitCell(
                model="example-dense",
                system="example-x1",
                verdict="misses-limit",
                tokens_per_s_per_chip=90.0,
                chips=1,
                layout="TP1",
                detail="TPOT 81 ms",
            ),
            FitCell(
                model="example-dense", system="example-y2", verdict="unsupported", detail="attention kind"
            ),
        )
    },
    elapsed_s=1.2,
    edition="2026.11",
)

CHIP = Chip(
    id="example-x1",
    name="Example X1",
    vendor="Example",
    unit="package",
    status="shipping",
    dies=2,
    devices=2,
    year=2026,
    runtime="EX",
    aliases=("x1",),
    note="An invented chip.",
    compute_dense={
        "bf16": figure("compute.bf16.dense", 7.08e14, "354 TFLOPS", per="die"),
        "int8": figure("compute.int8.dense", 1.504e15, "1504 TOPS", per="package"),
        "fp4": Unknown("the data sheet gives no FP4 rate", "example-x1", "compute.fp4.dense"),
    },
    not_supported=("fp8_e4m3",),
    memory_kind="hbm",
    memory_capacity=Figure(
        137438953472.0,
        printed="128 GB",
        read_as="128 GiB",
        why="the driver reports 131072 MiB",
        source="x1-datasheet",
        grade="datasheet",
        at="p. 2",
        dimension="byte",
        record="example-x1",
        key="memory.capacity",
    ),
    memory_bandwidth=Figure(
        3.2e12,
        printed="3.2 TB/s",
        why="the paper measured it",
        source="x1-paper",
        grade="paper",
        at="Table 3",
        dimension="byte/s",
        record="example-x1",
        key="memory.bandwidth",
        rivals=(
            Figure(
                3.35e12, printed="3.35 TB/s", source="x1-datasheet", grade="datasheet", dimension="byte/s"
            ),
        ),
    ),
    links={
        "scale_up": {
            "bandwidth": figure("links.scale_up.bandwidth", 3.92e11, "784 GB/s", direction="two-way")
        }
    },
    power_tdp=Unknown("no document prints it", "example-x1", "power.tdp"),
)
CHIP_2 = dataclasses.replace(
    CHIP,
    id="example-x2",
    name="Example X2",
    aliases=(),
    memory_capacity=Unknown("announced without it"),
    memory_bandwidth=Figure(
        4.8e12, printed="4.8 TB/s", source="x1-datasheet", grade="datasheet", dimension="byte/s"
    ),
)


def linear(name: str, group: str, inputs: int, outputs: int, dtype: str = "fp8_e4m3") -> Linear:
    return Linear(name=name, group=group, inputs=inputs, outputs=outputs, dtype=dtype)


MODEL = Model(
    id="example-moe",
    name="Example MoE",
    vendor="Example",
    family="example_v1",
    hidden_size=1024,
    vocab_size=32000,
    layers=(
        Layer(
            name="moe",
            count=4,
            core=Core(kind="mla", num_heads=16, qk_dim=192, v_dim=128, latent_dim=512, rope_dim=64),
            linears=(linear("q", "attention", 1024, 3072), linear("o", "attention", 2048, 1024)),
            experts=Experts(num=64, top_k=8, inputs=1024, ffn_size=256, dtype="fp8_e4m3"),
        ),
        Layer(
            name="full",
            count=2,
            core=Core(kind="full", num_heads=16, num_kv_heads=4, qk_dim=128, v_dim=128, window=4096),
            linears=(linear("qkv", "attention", 1024, 3072), linear("up", "dense_ffn", 1024, 4096)),
        ),
    ),
    head=linear("head", "head", 1024, 32000, "bf16"),
    tied_embeddings=False,
    max_context_tokens=131072,
    embedding_parameters=1024 * 32000,
    default_kv_dtype="bf16",
    activation_dtype="fp8_e4m3",
    license="MIT",
    absent=("vision tower",),
    published_total=Figure(
        3.2e8, printed="320M", source="x1-paper", grade="paper", at="Table 1", dimension="parameter"
    ),
    published_active=Unknown("not printed", "example-moe", "published_active"),
    notes=("An invented model.",),
)


def find(source_id: str) -> Source:
    return {"x1-datasheet": DATASHEET, "x1-paper": PAPER}[source_id]
