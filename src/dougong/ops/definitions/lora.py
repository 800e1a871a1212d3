"""Low-rank adapters, several in one batch."""

from __future__ import annotations

from dougong.ops.definition import Definition, Operand, Special

_X, _WEIGHT = Operand(name="x", axes="m k"), Operand(name="weight", axes="n k")
_REFERENCE = "Hu et al., LoRA, arXiv:2106.09685"

DEFINITIONS = (
    Definition(
        name="lora_linear",
        family="lora",
        inputs=(
            _X,
            _WEIGHT,
            Operand(name="down", axes="a r k"),
            Operand(name="up", axes="a n r"),
            Operand(name="scaling", axes="a", kind="float32"),
            Operand(name="adapter", axes="m", kind="index"),
        ),
        outputs=(Operand(name="y", axes="m n"),),
        formula="y[m] = weight x[m] + scaling[a] up[a] (down[a] x[m]), a = adapter[m]",
        specials=(Special(when="adapter[m] = -1", then="weight x[m] alone"),),
        priced_as="gemm",
        references=(_REFERENCE, "Chen et al., Punica, arXiv:2310.18547"),
    ),
    Definition(
        name="lora_merge",
        family="lora",
        inputs=(
            _WEIGHT,
            Operand(name="down", axes="r k"),
            Operand(name="up", axes="n r"),
            Operand(name="scaling", axes="", kind="float32"),
        ),
        outputs=(Operand(name="y", axes="n k"),),
        formula="y = weight + scaling up down",
        references=(_REFERENCE,),
    ),
)
