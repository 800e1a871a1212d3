"""Attention of a prompt."""

from __future__ import annotations

from dougong.ops.definition import Definition, Operand, Special

SPECIALS = (
    Special(when="a query may see no key", then="zeros or NaN", switch="masked_row"),
    Special(when="NaN stands in a key or value that is masked", then="it is not seen", switch="masked_nan"),
    Special(
        when="there are more keys than queries",
        then="the last query sees the last key",
        switch="causal_alignment",
    ),
    Special(
        when="there are fewer key-value heads",
        then="head h reads h // (heads / kv heads)",
        switch="gqa_mapping",
    ),
)
"""What holds of attention however its keys are stored."""

_FORMULA = (
    "y[h, t] = sum_s p[h, t, s] v[g(h), s]; p = softmax over the visible s of scale q[h, t] . k[g(h), s], capped to "
    "softcap tanh(. / softcap) where given, plus mask and slopes[h] (s - t); sinks[h] is one more logit without a value"
)
_ATTRIBUTES: dict[str, object] = {"causal": False, "scale": None, "window": 0, "softcap": 0.0}

DEFINITIONS = (
    Definition(
        name="attention",
        family="attention",
        inputs=(
            Operand(name="q", axes="b h t d"),
            Operand(name="k", axes="b g s d"),
            Operand(name="v", axes="b g s e"),
            Operand(name="mask", axes="1 1 t s", kind="bool", optional=True),
            Operand(name="sinks", axes="h", optional=True),
            Operand(name="slopes", axes="h", kind="float32", optional=True),
        ),
        outputs=(Operand(name="y", axes="b h t e"),),
        formula=_FORMULA
        + "; mask is bool (True: visible) or added, and broadcasts to b h t s; scale is d^-1/2",
        attributes=_ATTRIBUTES,
        specials=SPECIALS,
        priced_as="attention",
        references=(
            "Vaswani et al., Attention Is All You Need, arXiv:1706.03762, equation 1",
            "Press et al., ALiBi, arXiv:2108.12409",
            "Gemma 2, arXiv:2408.00118, section 2 (soft-capping)",
            "gpt-oss model card, arXiv:2508.10925, section 2.2 (sinks)",
        ),
    ),
    Definition(
        name="attention_varlen",
        family="attention",
        inputs=(
            Operand(name="q", axes="t h d"),
            Operand(name="k", axes="s g d"),
            Operand(name="v", axes="s g e"),
            Operand(name="q_starts", axes="n+1", kind="int32"),
            Operand(name="k_starts", axes="n+1", kind="int32"),
        ),
        outputs=(Operand(name="y", axes="t h e"),),
        formula=_FORMULA + "; sequence n holds tokens starts[n] to starts[n + 1] and sees itself alone",
        attributes=_ATTRIBUTES,
        specials=SPECIALS,
        priced_as="attention",
    ),
)
