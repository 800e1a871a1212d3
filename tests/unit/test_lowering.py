"""Counts of operators against numbers worked out by hand and against the parameter count."""

import pytest

from dougong.catalog.models import DTYPE_BITS, Core, Layer
from dougong.ops import Collective, Compute, Dtypes, Ranks, Tokens, lower
from dougong.ops.cache import attended, cached_entries
from dougong.testing import dense_model, moe_model

BF16 = Dtypes(compute=dict.fromkeys(DTYPE_BITS, "bf16"))
ONE = Ranks(tp=1.0, cp=1.0, attn_dp=1.0, ep=1.0, expert_tp=1.0)


def gemm_flop(operators):
    return sum(
        op.count * op.flop
        for op in operators
        if isinstance(op, Compute) and op.kind in ("gemm", "grouped_gemm")
    )


@pytest.mark.parametrize("model", [dense_model(), moe_model()], ids=lambda model: model.id)
def test_a_token_costs_two_flop_per_active_parameter(model):
    norms = sum(layer.count * layer.other_parameters for layer in model.layers)
    tokens = Tokens(decode_sequences=3.0, context=100.0)
    operators = lower(model, tokens, ONE, BF16, decode=True, prefill=False)
    assert gemm_flop(operators) == pytest.approx(3 * 2 * (model.active_parameters() - norms))


@pytest.mark.parametrize("model", [dense_model(), moe_model()], ids=lambda model: model.id)
@pytest.mark.parametrize("tp", [1.0, 2.0, 4.0])
def test_all_ranks_together_do_the_work_once(model, tp):
    # Up to the key-value heads nothing is computed twice; a router is, on every rank.
    tokens = Tokens(decode_sequences=64.0, context=1000.0)
    whole = lower(model, tokens, ONE, BF16, decode=True, prefill=False)
    part = lower(
        model,
        tokens,
        Ranks(tp=tp, cp=1.0, attn_dp=1.0, ep=1.0, expert_tp=tp),
        BF16,
        decode=True,
        prefill=False,
    )
    for one, share in zip(whole, part, strict=True):
        if isinstance(one, Compute) and one.kind != "elementwise" and one.group != "router":
            assert share.flop * tp == pytest.approx(one.flop), one.name
            assert share.weight_bytes * tp == pytest.approx(one.weight_bytes), one.name


def test_attention_of_a_known_shape():
    # Llama-3.1-8B: 32 heads of 128, 8 key-value heads, one query over 1,000 entries:
    # scores 2 x 32 x 128 x 1000, weighted sum the same; cache 2 x 8 x 128 x 2 B x 1000.
    model = dense_model(hidden=4096, heads=32, kv_heads=8, layers=1)
    operators = lower(
        model, Tokens(decode_sequences=1.0, context=1000.0), ONE, BF16, decode=True, prefill=False
    )
    (core,) = [op for op in operators if op.name == "decode_attention"]
    assert core.flop == 4 * 32 * 128 * 1000
    assert core.io_bytes == 4096 * 1000


def test_prefill_attention_is_half_a_square():
    # 1,000 prompt tokens from nothing: mean context 500, 16 heads of 64.
    model = dense_model(hidden=1024, heads=16, kv_heads=16, layers=1)
    operators = lower(
        model,
        Tokens(prefill_tokens=1000.0, prefill_context=500.0, prefill_sequences=1.0),
        ONE,
        BF16,
        decode=False,
        prefill=True,
    )
    (core,) = [op for op in operators if op.name == "prefill_attention"]
    assert core.flop == 1000 * 500 * 2 * 16 * (64 + 64)


def test_windows_and_choices_bound_what_is_read():
    full = Core(kind="full", num_heads=8, num_kv_heads=8, qk_dim=64, v_dim=64)
    window = Core(kind="full", num_heads=8, num_kv_heads=8, qk_dim=64, v_dim=64, window=128)
    chosen = Core(
        kind="mla", num_heads=8, latent_dim=512, rope_dim=64, top_k=2048, index_heads=64, index_dim=128
    )
    assert [attended(core, 10_000.0) for core in (full, window, chosen)] == [10_000, 128, 2048]
    # A window need not be kept beyond its reach; an indexer may pick any entry, so all stay.
    assert [cached_entries(core, 10_000.0) for core in (full, window, chosen)] == [10_000, 128, 10_000]
    assert [attended(core, 100.0) for core in (full, window, chosen)] == [100, 100, 100]


def test_a_window_in_prefill_counts_the_ramp():
    # Positions 0..999 with a window of 100: the first 100 see 0..99 (mean 50), the rest 100.
    window = Layer(
        name="w",
        count=1,
        core=Core(kind="full", num_heads=1, num_kv_heads=1, qk_dim=1, v_dim=1, window=100),
        linears=(),
    )
    model = dense_model(layers=1)
    model = type(model)(
        **{**{name: getattr(model, name) for name in model.__dataclass_fields__}, "layers": (window,)}
    )
    operators = lower(
        model, Tokens(prefill_tokens=1000.0, prefill_context=500.0), ONE, BF16, decode=False, prefill=True
    )
    (core,) = [op for op in operators if op.name == "prefill_attention"]
    assert core.flop == pytest.approx((100 * 50 + 900 * 100) * 2 * 2)


def test_few_tokens_visit_few_experts():
    model = moe_model(experts=32, top_k=4)
    one = lower(model, Tokens(decode_sequences=1.0, context=10.0), ONE, BF16, decode=True, prefill=False)
    many = lower(model, Tokens(decode_sequences=4096.0, context=10.0), ONE, BF16, decode=True, prefill=False)
    read = [next(op.groups for op in operators if op.name == "experts_up") for operators in (one, many)]
    assert read[0] == pytest.approx(4.0)
    assert read[1] == pytest.approx(32.0)


def test_a_wide_group_exchanges_and_a_tensor_group_reduces():
    model = moe_model()
    tokens = Tokens(decode_sequences=8.0, context=10.0)
    wide = lower(
        model,
        tokens,
        Ranks(tp=1.0, cp=1.0, attn_dp=8.0, ep=8.0, expert_tp=1.0),
        BF16,
        decode=True,
        prefill=False,
    )
    deep = lower(
        model,
        tokens,
        Ranks(tp=8.0, cp=1.0, attn_dp=1.0, ep=1.0, expert_tp=8.0),
        BF16,
        decode=True,
        prefill=False,
    )

    def ranks(operators):
        return {op.name: op.ranks for op in operators if isinstance(op, Collective) and op.group == "experts"}

    assert ranks(wide) == {"experts_all_reduce": 1.0, "dispatch": 8.0, "combine": 8.0}
    assert ranks(deep) == {"experts_all_reduce": 8.0, "dispatch": 1.0, "combine": 1.0}
    # Each device sends its 8 tokens to 4 experts in bf16: 8 x 4 x 1024 x 2 B.
    (dispatch,) = [op for op in wide if op.name == "dispatch"]
    assert dispatch.bytes_out == 8 * 4 * 1024 * 2


def test_the_device_of_popular_experts_sends_and_computes_more():
    model, wide = moe_model(), Ranks(tp=1.0, cp=1.0, attn_dp=8.0, ep=8.0, expert_tp=1.0)
    tokens = Tokens(decode_sequences=512.0, context=10.0)
    even, uneven = (
        {op.name: op for op in lower(model, tokens, wide, BF16, decode=True, prefill=False, imbalance=load)}
        for load in (1.0, 1.5)
    )
    assert uneven["dispatch"].bytes_out == pytest.approx(1.5 * even["dispatch"].bytes_out)
    assert uneven["combine"].bytes_out == pytest.approx(1.5 * even["combine"].bytes_out)
    assert uneven["experts_up"].flop > 1.4 * even["experts_up"].flop
    assert uneven["experts_passes"].io_bytes > 1.4 * even["experts_passes"].io_bytes


def test_matrices_of_the_same_rows_are_one_and_lose_nothing():
    model = dense_model()
    linears = [linear for linear in model.layers[0].linears if linear.group in ("attention", "dense_ffn")]
    tokens = Tokens(decode_sequences=8.0, context=100.0)
    operators = lower(model, tokens, ONE, BF16, decode=True, prefill=False)
    gemms = {op.name: op for op in operators if op.kind == "gemm" and op.name != "lm_head"}
    assert set(gemms) == {"q_proj+k_proj+v_proj", "o_proj", "gate_proj+up_proj", "down_proj"}
    assert sum(op.flop for op in gemms.values()) == 2 * 8 * sum(
        linear.inputs * linear.outputs for linear in linears
    )
    together = gemms["gate_proj+up_proj"]
    width = sum(linear.outputs for linear in linears if linear.name in ("gate_proj", "up_proj"))
    assert together.io_bytes == 8 * (together.k + width) * 2  # the shared rows are read once
    assert (together.n, together.m) == (width, 8)


def test_the_busiest_device_has_more_than_its_share_and_never_more_than_all():
    # 32 experts on 8 devices, one token to 4 experts: the mean device reads half an expert, the busiest more.
    model = moe_model(experts=32, top_k=4)
    wide = Ranks(tp=8.0, cp=1.0, attn_dp=1.0, ep=8.0, expert_tp=1.0)
    few, many = (
        next(
            op
            for op in lower(
                model, Tokens(decode_sequences=b, context=10.0), wide, BF16, decode=True, prefill=False
            )
            if op.name == "experts_up"
        )
        for b in (1.0, 4096.0)
    )
    assert 0.5 < few.groups < 4.0
    assert many.groups == pytest.approx(4.0)
    mean = 2 * 4096 * 4 / 8 * 2 * 512 * 1024
    assert mean < many.flop < 1.05 * mean
