"""Rotary position embedding."""

from __future__ import annotations

from dougong.ops.definition import Definition, Operand

_NONE: dict[str, object] = {}
_ATTRIBUTES: dict[str, object] = {"dim": 0, "base": 1e4, "style": "neox", "scaling": _NONE}
_ROTATION = (
    "y = x turned pair by pair by the angle position f[i]; f[i] = base^(-2 i / dim) as `scaling` changes it; pairs are "
    "(i, i + dim / 2) in style neox and (2 i, 2 i + 1) in style interleaved; what is beyond `dim` stays as it is"
)
_REFERENCES = (
    "Su et al., RoFormer, arXiv:2104.09864, equation 15",
    "Peng et al., YaRN, arXiv:2309.00071, section 3.2",
    "Llama 3.1 model code, apply_scaling",
)
_X = Operand(name="x", axes="t h d")
_Y = Operand(name="y", axes="t h d")
_POSITIONS = Operand(name="positions", axes="t", kind="int64")

DEFINITIONS = (
    Definition(
        name="rope_angles",
        family="rope",
        inputs=(_POSITIONS,),
        outputs=(
            Operand(name="cos", axes="t dim/2", kind="float32"),
            Operand(name="sin", axes="t dim/2", kind="float32"),
        ),
        formula="cos and sin of position f[i], times the attention factor of `scaling`",
        attributes=_ATTRIBUTES,
        dtypes=("float32",),
        references=_REFERENCES,
    ),
    Definition(
        name="rope",
        family="rope",
        inputs=(_X, _POSITIONS),
        outputs=(_Y,),
        formula=_ROTATION,
        attributes=_ATTRIBUTES,
        references=_REFERENCES,
    ),
    Definition(
        name="rope_cached",
        family="rope",
        inputs=(_X, Operand(name="cos", axes="p dim/2"), Operand(name="sin", axes="p dim/2"), _POSITIONS),
        outputs=(_Y,),
        formula=_ROTATION + "; cos and sin are the given rows at `positions`",
        attributes={"style": "neox"},
    ),
    Definition(
        name="mrope",
        family="rope",
        inputs=(_X, Operand(name="positions", axes="3 t", kind="int64")),
        outputs=(_Y,),
        formula=(
            _ROTATION
            + "; pair i takes the first, second or third position: in runs of `sections` pairs, or, "
            "`interleaved`, the second at i = 1 mod 3 and the third at i = 2 mod 3 while i < 3 sections"
        ),
        attributes={**_ATTRIBUTES, "sections": (), "interleaved": False},
        references=("Wang et al., Qwen2-VL, arXiv:2409.12191, section 2.1",),
    ),
    Definition(
        name="rope_scores",
        family="rope",
        inputs=(
            Operand(name="q", axes="t h d"),
            Operand(name="k", axes="s h d"),
            Operand(name="q_positions", axes="t", kind="int64"),
            Operand(name="k_positions", axes="s", kind="int64"),
        ),
        outputs=(Operand(name="scores", axes="h t s"),),
        formula="scores[h, t, s] = sum_d rope(q)[t, h, d] rope(k)[s, h, d]: a shift of all positions changes nothing",
        attributes=_ATTRIBUTES,
        references=_REFERENCES,
    ),
)
