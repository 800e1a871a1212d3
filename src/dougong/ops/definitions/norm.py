"""RMSNorm, LayerNorm and their fusions."""

from __future__ import annotations

from dougong.ops.definition import Definition, Operand, Special

_X = Operand(name="x", axes="m d")
_WEIGHT = Operand(name="weight", axes="d")
_Y = Operand(name="y", axes="m d")
_EPS = {"eps": 1e-6}
_SPECIALS = (
    Special(when="a row holds NaN", then="that row is NaN, no other"),
    Special(when="a row is zeros", then="zeros, or the bias"),
    Special(when="squares of float16 overflow it", then="they are summed in float32 and do not"),
)

DEFINITIONS = (
    Definition(
        name="rms_norm",
        family="norm",
        inputs=(_X, _WEIGHT),
        outputs=(_Y,),
        formula=(
            "y[m, d] = x[m, d] / sqrt(mean_d x[m, d]^2 + eps) (weight[d] + weight_offset); x may have a head axis "
            "between both"
        ),
        attributes={**_EPS, "weight_offset": 0.0},
        specials=_SPECIALS,
        references=(
            "Zhang and Sennrich, Root Mean Square Layer Normalization, arXiv:1910.07467, equation 4",
        ),
    ),
    Definition(
        name="add_rms_norm",
        family="norm",
        inputs=(_X, Operand(name="residual", axes="m d"), _WEIGHT),
        outputs=(_Y, Operand(name="residual_out", axes="m d")),
        formula="residual_out = x + residual, rounded once; y = rms_norm(residual_out, weight)",
        attributes=_EPS,
        specials=_SPECIALS,
    ),
    Definition(
        name="gated_rms_norm",
        family="norm",
        inputs=(_X, Operand(name="gate", axes="m d"), _WEIGHT),
        outputs=(_Y,),
        formula="y = rms_norm(x, weight) gate / (1 + exp(-gate))",
        attributes=_EPS,
        specials=_SPECIALS,
    ),
    Definition(
        name="layer_norm",
        family="norm",
        inputs=(_X, _WEIGHT, Operand(name="bias", axes="d", optional=True)),
        outputs=(_Y,),
        formula="y = (x - mean x) / sqrt(mean (x - mean x)^2 + eps) weight + bias, over the last axis",
        attributes={"eps": 1e-5},
        specials=_SPECIALS,
        references=("Ba, Kiros and Hinton, Layer Normalization, arXiv:1607.06450",),
    ),
    Definition(
        name="l2_norm",
        family="norm",
        inputs=(_X,),
        outputs=(_Y,),
        formula="y = x / sqrt(sum_d x^2 + eps)",
        attributes=_EPS,
        specials=_SPECIALS,
    ),
)
