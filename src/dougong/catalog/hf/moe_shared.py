"""Readers of mixtures whose first layers are dense and whose experts stand beside shared ones.

References
----------
transformers ``models/{glm4_moe,ernie4_5_moe,hunyuan_v1_moe,hy_v3}`` (``modeling_*.py``); MTP modules: SGLang
``glm4_moe_nextn.py``, ``hunyuan_v3_nextn.py``;
Ling: ``modeling_bailing_moe_v2.py`` of inclusionAI/Ling-1T; Pangu Pro MoE: arXiv 2505.21411, table 1, and the
``pangu_moe`` model of vllm-ascend 0.9 (biases on every attention projection);
Step-3: arXiv 2507.19427 and the ``step3_text`` model of vLLM.
"""

from __future__ import annotations

from dataclasses import replace

from dougong.catalog.hf.blocks import Frame, Heads, Routed, listed_layers, read_experts, routed_layers
from dougong.catalog.hf.keys import HEADS, LAYERS, SIZE, TOKENS, Keys
from dougong.catalog.hf.moe import uniform
from dougong.catalog.hf.parts import Body
from dougong.catalog.hf.quant import Recipe


def read_glm4_moe(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read GLM-4.5 to 4.7: biases on queries, keys and values, optional norms on queries and keys, MTP."""
    frame = Frame.of(text, outer, max_context=131072)
    qk_norm = "head" if text.flag("use_qk_norm") else ""
    heads = Heads.of(text, frame.hidden, bias=text.flag("attention_bias"), qk_norm=qk_norm)
    routed = _routed(text, num=("n_routed_experts", "num_experts"), shared=("n_shared_experts",))
    sparse, dense_size = routed_layers(text, frame.layers), text.count("intermediate_size")
    mtp_num = text.count("num_nextn_predict_layers", default=0, low=0, high=100)
    text.check()
    return uniform(frame, heads, recipe, routed=routed, sparse=sparse, dense_size=dense_size, mtp_num=mtp_num)


def read_ernie(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read ERNIE 4.5: a range of layers routes, shared experts side by side, tied embeddings by default."""
    frame = Frame.of(text, outer, tied=True, max_context=131072)
    bias = text.flag("use_bias")
    heads = Heads.of(text, frame.hidden, bias=bias, out_bias=bias)
    num, top_k = read_experts(text, num=("moe_num_experts",), top_k=("moe_k",))
    size = text.count("moe_intermediate_size")
    shared = text.count("moe_num_shared_experts", default=0, low=0, high=1000)
    routed = Routed(num=num, top_k=top_k, ffn_size=size, shared_ffn_size=shared * size, correction=True)
    first = text.count("moe_layer_start_index", default=1, low=0, high=LAYERS)
    last = text.count("moe_layer_end_index", default=-1, low=-1, high=LAYERS)
    stride = text.count("moe_layer_interval", default=1, high=LAYERS)
    dense_size = text.count("intermediate_size")
    text.check()
    end = frame.layers - 1 if last < 0 else last
    sparse = [(i + 1) % stride == 0 and first <= i <= end for i in range(frame.layers)]
    return uniform(frame, heads, recipe, routed=routed, sparse=sparse, dense_size=dense_size, bias=bias)


def read_hunyuan(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read Hunyuan-A13B and Hunyuan-Large: every layer routes; shapes come as one number or one per layer, all equal.

    With cross-layer attention the first of each ``cla_share_factor`` layers keeps keys and values for all of them.
    """
    frame = Frame.of(text, outer, max_context=32768)
    text.must_not("latent attention", "use_mla")
    text.asked.add("attention_head_dim")
    factor = text.count("cla_share_factor", default=1, high=LAYERS)
    sharing = factor if text.flag("use_cla") else 1
    qk_norm = "head" if text.flag("use_qk_norm", default=True) else ""
    heads = Heads.of(text, frame.hidden, bias=text.flag("attention_bias"), qk_norm=qk_norm)
    heads = replace(heads, out_bias=heads.bias)
    num = text.count("num_experts")
    top_k = _same(text, "moe_topk", frame.layers)
    own_size = "moe_intermediate_size" if text.has("moe_intermediate_size") else "intermediate_size"
    size = _same(text, own_size, frame.layers)
    shared = _same(text, "num_shared_expert", frame.layers)
    first_dense = text.count("moe_layer_num_skipped", default=0, low=0, high=LAYERS)
    dense_size = text.count("intermediate_size")
    if top_k > num:
        text.fault("moe_topk", f"{top_k} experts per token are more than the {num} there are")
    text.check()
    routed = Routed(
        num=num, top_k=top_k, ffn_size=size, shared_ffn_size=shared * size, router="mlp.gate.wg",
        shared="mlp.shared_mlp",
    )  # fmt: skip
    sparse = [i >= first_dense for i in range(frame.layers)]
    shares = [i % sharing > 0 for i in range(frame.layers)]
    return uniform(frame, heads, recipe, routed=routed, sparse=sparse, dense_size=dense_size, shares=shares)


def read_step3(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read Step-3: queries through a bottleneck that all heads share, one head of keys and values, listed mixtures."""
    frame = Frame.of(text, outer, max_context=65536)
    # Its files say the context in the singular.
    stated = text.count("max_position_embedding", "max_seq_len", default=frame.max_context, high=TOKENS)
    frame = replace(frame, max_context=stated)
    kv = text.count("num_attention_groups", "num_key_value_heads", default=1, high=HEADS)
    rank = text.count("share_q_dim", default=2048)
    heads = replace(Heads.of(text, frame.hidden, dim=256), kv=kv, query_rank=rank)
    num, top_k = read_experts(text, num=("moe_num_experts",), top_k=("moe_top_k",))
    routed = Routed(
        num=num, top_k=top_k, ffn_size=text.count("moe_intermediate_size"),
        shared_ffn_size=text.count("share_expert_dim", default=0, low=0), router="moe.gate",
        module="moe.experts", shared="share_expert",
    )  # fmt: skip
    sparse = listed_layers(text, frame.layers, otherwise=range(4, frame.layers - 1))
    dense_size = text.count("intermediate_size")
    text.check()
    return uniform(frame, heads, recipe, routed=routed, sparse=sparse, dense_size=dense_size)


def read_hy_v3(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read Hy3: one dense layer, norms on queries and keys, one shared expert, MTP."""
    frame = Frame.of(text, outer)
    heads = Heads.of(text, frame.hidden, qk_norm="head")
    routed = _routed(text, num=("num_experts",), shared=("num_shared_experts",))
    kinds = text.words("mlp_layer_types", choices=("dense", "sparse"), length=frame.layers)
    first = text.count("first_k_dense_replace", default=1, low=0, high=LAYERS)
    dense_size = text.count("intermediate_size")
    mtp_num = text.count("num_nextn_predict_layers", default=0, low=0, high=100)
    text.check()
    sparse = [kind == "sparse" for kind in kinds] if kinds else [i >= first for i in range(frame.layers)]
    return uniform(frame, heads, recipe, routed=routed, sparse=sparse, dense_size=dense_size, mtp_num=mtp_num)


def read_bailing(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read Ling and Ring of the BailingMoeV2 lineage."""
    frame = Frame.of(text, outer)
    bias = text.flag("use_bias")
    heads = Heads.of(
        text, frame.hidden, bias=bias or text.flag("use_qkv_bias"), out_bias=bias,
        qk_norm="head" if text.flag("use_qk_norm") else "",
    )  # fmt: skip
    routed = _routed(text, num=("num_experts",), shared=("num_shared_experts",))
    routed = replace(routed, correction=text.flag("moe_router_enable_expert_bias"))
    sparse, dense_size = routed_layers(text, frame.layers), text.count("intermediate_size")
    mtp_num = text.count("num_nextn_predict_layers", default=0, low=0, high=100)
    text.must_not("a normalised head", "norm_head")
    text.check()
    return uniform(
        frame, heads, recipe, routed=routed, sparse=sparse, dense_size=dense_size, mtp_num=mtp_num, bias=bias
    )


def read_pangu(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read Pangu Pro MoE: experts in groups of equal load, one wide shared expert, biases in attention."""
    frame = Frame.of(text, outer)
    heads = Heads.of(text, frame.hidden, bias=True, out_bias=True)
    num, top_k = read_experts(text, num=("num_experts",), top_k=("num_experts_per_tok",))
    routed = Routed(
        num=num, top_k=top_k, ffn_size=text.count("moe_intermediate_size"), shared="mlp.shared_expert",
        shared_ffn_size=text.count("shared_expert_intermediate_size"), correction=True,
    )  # fmt: skip
    text.check()
    return uniform(frame, heads, recipe, routed=routed, sparse=[True] * frame.layers, dense_size=0)


def _routed(text: Keys, *, num: tuple[str, ...], shared: tuple[str, ...]) -> Routed:
    experts, top_k = read_experts(text, num=num, top_k=("num_experts_per_tok",))
    size = text.count("moe_intermediate_size")
    beside = text.count(*shared, default=0, low=0, high=1000)
    width = text.count("moe_shared_expert_intermediate_size", default=beside * size, low=0)
    return Routed(num=experts, top_k=top_k, ffn_size=size, shared_ffn_size=width, correction=True)


def _same(text: Keys, name: str, layers: int) -> int:
    """A number that may also come as one per layer, if they are all equal."""
    if not isinstance(text.get(name), (list, tuple)):
        return text.count(name, high=SIZE)
    values = text.counts(name, length=layers) or [1]
    if len(set(values)) > 1:
        raise text.refuse(f"{name} that differs between layers")
    return values[0]
