"""Which numbers a model computes with on a chip: the recipe, and what the chip makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dougong.catalog.hardware import Chip
from dougong.catalog.models import DTYPE_BITS, Layer, Linear, Model
from dougong.errors import InputError, UnknownFigure, UnknownId
from dougong.facts import Figure
from dougong.ops import Dtypes


@dataclass(frozen=True, slots=True)
class Recipe:
    """A named quantisation: stored dtypes of matrices and of experts, and what they multiply with."""

    weights: str | None  # None: as stored in the checkpoint
    experts: str | None
    activations: str | None
    note: str
    head: str | None = None  # None: as stored


RECIPES: Mapping[str, Recipe] = {
    "bf16": Recipe("bf16", "bf16", "bf16", "no quantisation"),
    "fp8": Recipe("fp8_e4m3", "fp8_e4m3", "fp8_e4m3", "FP8 weights and activations"),
    "int8": Recipe("int8", "int8", "int8", "INT8 weights and activations (W8A8)"),
    "w8a16": Recipe("int8", "int8", "bf16", "INT8 weights, BF16 activations"),
    "w4a16": Recipe("int4_g128", "int4_g128", "bf16", "INT4 weights in groups of 128, BF16 activations"),
    "w4a8": Recipe("int8", "int4_g128", "int8", "INT4 experts, INT8 elsewhere, INT8 activations"),
    "mxfp4": Recipe("bf16", "mxfp4", "bf16", "MXFP4 experts, BF16 elsewhere"),
    "nvfp4": Recipe("nvfp4", "nvfp4", "nvfp4", "NVFP4 weights and activations"),
    "q8_0": Recipe("q8_0", "q8_0", "bf16", "llama.cpp Q8_0", "q8_0"),
    "q4_1": Recipe("q4_1", "q4_1", "bf16", "llama.cpp Q4_1, its head in Q8_0", "q8_0"),
    "q4_0": Recipe("q4_0", "q4_0", "bf16", "llama.cpp Q4_0, its head in Q8_0", "q8_0"),
}
PRECISIONS = ("auto", "native", *RECIPES)
KV_DTYPES = ("bf16", "fp16", "fp8_e4m3", "int8", "int4", "nvfp4", "q8_0")
"""What engines store a cache in; weights are kept in more."""
_QUANTISED_GROUPS = (
    "attention",
    "dense_ffn",
    "shared_expert",
)  # routers, indexers, heads stay as they are stored
_FAMILY = {
    "bf16": "bf16",
    "fp16": "bf16",
    "fp32": "fp32",
    "fp8_e4m3": "fp8_e4m3",
    "mxfp8": "fp8_e4m3",
    "int8": "int8",
    "nvfp4": "fp4",
    "mxfp4": "fp4",
    "int4": "int4",
    "int4_g32": "int4",
    "int4_g128": "int4",
    "q4_0": "int4",
    "q4_1": "int4",
    "q8_0": "int8",
    "q4_k_m": "int4",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Precise:
    """A model in a precision, on a chip."""

    model: Model
    dtypes: Dtypes
    recipe: str
    note: str
    figures: tuple[Figure, ...]


def supports(chip: Chip, dtype: str) -> bool:
    """Whether the catalog knows a dense rate of ``dtype`` for the chip."""
    return isinstance(chip.compute_dense.get(dtype), Figure)


def base_dtype(chip: Chip) -> str:
    """The 16-bit float the chip multiplies in; FP32 where it has neither.

    Raises
    ------
    UnknownFigure
        If no floating-point rate is known.
    """
    for dtype in ("bf16", "fp16", "fp32"):
        if supports(chip, dtype):
            return dtype
    raise UnknownFigure(chip.id, "compute.bf16.dense", "no floating-point rate is known")


def _multiplies_in(stored: str, activation: str, chip: Chip) -> str:
    # A quantised multiplication needs both operands and a unit for it; else weights are widened on the fly.
    base = base_dtype(chip)
    if stored in ("q4_0", "q4_1", "q8_0") and supports(chip, stored):
        return stored  # a kernel of that format was measured on this chip
    weights, operand = _FAMILY[stored], _FAMILY[activation]
    if weights == "fp32":
        return "fp32" if supports(chip, "fp32") else base
    if operand == "bf16":
        # MXFP4 weights meet MXFP8 activations where the chip has FP4 units (what engines do for gpt-oss there).
        return (
            "fp8_e4m3" if stored == "mxfp4" and supports(chip, "fp4") and supports(chip, "fp8_e4m3") else base
        )
    if weights == "bf16":
        return base
    if weights == "fp4" and operand == "fp4" and supports(chip, "fp4"):
        return "fp4"
    for wanted in ("int8", "fp8_e4m3"):
        if operand == wanted and weights in (wanted, "int4", "fp4") and supports(chip, wanted):
            return wanted
    return base


def apply(model: Model, precision: str | Recipe, chip: Chip, kv_dtype: str | None = None) -> Precise:
    """Bring ``model`` into ``precision`` for ``chip``.

    Parameters
    ----------
    precision
        One of :data:`PRECISIONS`, or a recipe of one's own. ``native`` keeps the checkpoint; ``auto`` keeps it
        where the chip can compute it, and takes INT8 (W8A8) for an FP8 checkpoint on a chip that has INT8 but
        no FP8.
    kv_dtype
        Stored dtype of the cache; None keeps the model's own.

    Raises
    ------
    UnknownId
        If the precision or cache dtype is not known.
    """
    if isinstance(precision, str) and precision not in PRECISIONS:
        raise UnknownId("precision", precision, PRECISIONS)
    if kv_dtype is not None and kv_dtype not in DTYPE_BITS:
        raise UnknownId("dtype", kv_dtype, DTYPE_BITS)
    name, note = (precision, "") if isinstance(precision, str) else ("recipe", "")
    native = _FAMILY[model.activation_dtype]
    if precision == "auto":
        name = "native"
        if native == "fp8_e4m3" and not supports(chip, "fp8_e4m3"):
            name = "int8" if supports(chip, "int8") else "native"
            note = f"{chip.name} has no FP8 rate on record: " + (
                "an INT8 (W8A8) conversion of the checkpoint is assumed"
                if name == "int8"
                else "FP8 weights are widened and multiplied in 16 bits"
            )
    if name == "native":
        precise, activations = model, model.activation_dtype
        note = note or "the checkpoint as published"
    else:
        recipe = RECIPES[name] if isinstance(precision, str) else precision
        precise, activations = _convert(model, recipe), recipe.activations or model.activation_dtype
        note = f"{recipe.note}; {note}" if note else recipe.note
    stored = sorted(
        {linear.dtype for _, linear in precise.each_linear(mtp=True)} | _expert_dtypes(precise) | {"bf16"}
    )
    stored = sorted({*stored, precise.head.dtype})
    compute = {dtype: _multiplies_in(dtype, activations, chip) for dtype in stored}
    kv = kv_dtype or model.default_kv_dtype
    low = compute.get("fp8_e4m3") == "fp8_e4m3" or any(
        dtype in ("fp8_e4m3", "int8", "fp4") for dtype in compute.values()
    )
    dtypes = Dtypes(
        compute=compute,
        kv=kv,
        attention=base_dtype(chip),
        activation="bf16",
        dispatch="fp8_e4m3" if low else "bf16",
        combine="bf16",
    )
    used = {*compute.values(), dtypes.attention}
    return Precise(
        model=precise,
        dtypes=dtypes,
        recipe=name,
        note=note,
        figures=(
            *(chip.peak(dtype) for dtype in sorted(used)),
            *(value for dtype, value in sorted(chip.sustained().items()) if dtype in used),
        ),
    )


def _expert_dtypes(model: Model) -> set[str]:
    return {layer.experts.dtype for layer in (*model.layers, *model.mtp_layers) if layer.experts}


def _convert(model: Model, recipe: Recipe) -> Model:
    return replace(
        model,
        layers=tuple(_convert_layer(layer, recipe) for layer in model.layers),
        mtp_layers=tuple(_convert_layer(layer, recipe) for layer in model.mtp_layers),
        activation_dtype=recipe.activations or model.activation_dtype,
        **_ends(model, recipe.head),
    )


def _ends(model: Model, head: str | None) -> dict[str, Any]:
    if head is None:
        return {}
    return {"head": replace(model.head, dtype=head), "embedding_dtype": head}


def _convert_layer(layer: Layer, recipe: Recipe) -> Layer:
    def convert(linear: Linear) -> Linear:
        if recipe.weights is None:
            return linear
        quantised = linear.group in _QUANTISED_GROUPS and not linear.absorbed
        return replace(linear, dtype=recipe.weights if quantised else "bf16")

    experts = layer.experts
    if experts is not None and recipe.experts is not None:
        experts = replace(experts, dtype=recipe.experts)
    return replace(layer, linears=tuple(convert(linear) for linear in layer.linears), experts=experts)


def check_kv(kv_dtype: str | None) -> None:
    """Refuse a cache dtype that no engine stores."""
    if kv_dtype in DTYPE_BITS and kv_dtype not in KV_DTYPES:
        raise InputError(f"a KV cache in {kv_dtype} is not a thing engines offer", hint=", ".join(KV_DTYPES))
