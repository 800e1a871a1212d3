"""Latent, sparse and linear attention."""

from __future__ import annotations

from dougong.ops.definition import Definition, Operand, Special
from dougong.ops.definitions.attention import SPECIALS

_STATE = Operand(name="state", axes="h d e", kind="float32")
_STATE_OUT = Operand(name="state_out", axes="h d e", kind="float32")
_TOKENS = tuple(
    Operand(name=name, axes=axes) for name, axes in (("q", "t h d"), ("k", "t h d"), ("v", "t h e"))
)
_OUT = (Operand(name="y", axes="t h e"), _STATE_OUT)
_CHUNK: dict[str, object] = {"chunk": 1}

DEFINITIONS = (
    Definition(
        name="mla",
        family="latent_attention",
        inputs=(
            Operand(name="q_nope", axes="t h n"),
            Operand(name="q_rope", axes="t h r"),
            Operand(name="latent", axes="s c"),
            Operand(name="k_rope", axes="s r"),
            Operand(name="w_uk", axes="h n c"),
            Operand(name="w_uv", axes="h e c"),
        ),
        outputs=(Operand(name="y", axes="t h e"),),
        formula=(
            "k_nope[s, h] = w_uk[h] latent[s]; v[s, h] = w_uv[h] latent[s]; y = causal attention of (q_nope, q_rope) "
            "over (k_nope, k_rope), scale (n + r)^-1/2. Route absorbed: q_nope w_uk is taken to the latent instead, "
            "and w_uv to the answer: the same formula"
        ),
        attributes={"route": "naive", "scale": None},
        specials=SPECIALS,
        priced_as="attention",
        references=("DeepSeek-V2, arXiv:2405.04434, section 2.1.2",),
    ),
    Definition(
        name="sparse_attention",
        family="latent_attention",
        inputs=(
            Operand(name="q", axes="t h d"),
            Operand(name="k", axes="s g d"),
            Operand(name="v", axes="s g e"),
            Operand(name="index", axes="t n", kind="int32"),
        ),
        outputs=(Operand(name="y", axes="t h e"),),
        formula="attention of query t over the keys index[t], in any order; -1 stands for none",
        attributes={"scale": None},
        specials=SPECIALS,
    ),
    Definition(
        name="index_select",
        family="latent_attention",
        inputs=(
            Operand(name="q", axes="t i d"),
            Operand(name="k", axes="s d"),
            Operand(name="weights", axes="t i", kind="float32"),
        ),
        outputs=(Operand(name="index", axes="t top_k", kind="index"),),
        formula=(
            "the top_k keys s <= t + S - T by score[t, s] = sum_i weights[t, i] max(0, q[t, i] . k[s]), in any order; "
            "-1 where there are fewer"
        ),
        attributes={"top_k": 2048},
        specials=(Special(when="scores at the edge are equal", then="any of them"),),
        references=("DeepSeek-V3.2-Exp, section 2, equation 1",),
    ),
    Definition(
        name="gated_delta_rule",
        family="latent_attention",
        inputs=(
            *_TOKENS,
            Operand(name="g", axes="t h", kind="float32"),
            Operand(name="beta", axes="t h", kind="float32"),
            _STATE,
        ),
        outputs=_OUT,
        formula=(
            "S = exp(g[t]) S; S = S + beta[t] k[t] (v[t] - S^T k[t])^T; y[t] = S^T q[t], token by token or in chunks "
            "of `chunk` tokens"
        ),
        attributes=_CHUNK,
        priced_as="linear_attention",
        references=("Yang et al., Gated Delta Networks, arXiv:2412.06464, equation 10",),
    ),
    Definition(
        name="linear_attention",
        family="latent_attention",
        inputs=(*_TOKENS, Operand(name="g", axes="h", kind="float32"), _STATE),
        outputs=_OUT,
        formula="S = exp(g[h]) S + k[t] v[t]^T; y[t] = S^T q[t]",
        attributes=_CHUNK,
        priced_as="linear_attention",
        references=("MiniMax-01, arXiv:2501.08313, section 2.2.1",),
    ),
    Definition(
        name="selective_scan",
        family="latent_attention",
        inputs=(
            Operand(name="x", axes="t d"),
            Operand(name="delta", axes="t d", kind="float32"),
            Operand(name="a", axes="d n", kind="float32"),
            Operand(name="b", axes="t n"),
            Operand(name="c", axes="t n"),
            Operand(name="skip", axes="d", kind="float32"),
            Operand(name="state", axes="d n", kind="float32"),
        ),
        outputs=(Operand(name="y", axes="t d"), Operand(name="state_out", axes="d n", kind="float32")),
        formula="S = exp(delta[t] a) S + delta[t] x[t] b[t]^T; y[t] = S c[t] + skip x[t]",
        priced_as="linear_attention",
        references=("Gu and Dao, Mamba, arXiv:2312.00752, equation 2a",),
    ),
    Definition(
        name="causal_conv1d",
        family="latent_attention",
        inputs=(
            Operand(name="x", axes="t d"),
            Operand(name="weight", axes="d w"),
            Operand(name="bias", axes="d", optional=True),
            Operand(name="state", axes="d w-1"),
        ),
        outputs=(Operand(name="y", axes="t d"), Operand(name="state_out", axes="d w-1")),
        formula=(
            "y[t, d] = silu(bias[d] + sum_j weight[d, j] x[t + j - w + 1, d]), with state before the first token; "
            "state_out is the last w - 1 inputs, bit for bit"
        ),
    ),
)
