"""Reads how a checkpoint stores its matrices: the quantisation recipe of a configuration.

References
----------
Hugging Face ``quantization_config``: transformers ``utils/quantization_config.py`` and
``quantizers/quantizers_utils.py`` (``should_convert_module``).
compressed-tensors: ``config_groups`` with ``targets``, ``weights``, ``input_activations`` and ``ignore``.
NVIDIA ModelOpt: ``hf_quant_config.json`` with ``quant_algo``, ``exclude_modules`` and ``quantized_layers``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dougong.catalog.hf.keys import Keys, say
from dougong.catalog.hf.patterns import PatternError, Patterns, Value

FLOATS: Mapping[str, str] = {
    "bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Precision:
    """The stored dtype of a matrix and the dtype it multiplies with."""

    weight: str
    activation: str


_ALGOS: Mapping[str, Precision] = {
    "FP8": Precision("fp8_e4m3", "fp8_e4m3"),
    "FP8_PER_CHANNEL_PER_TOKEN": Precision("fp8_e4m3", "fp8_e4m3"),
    "FP8_PB_WO": Precision("fp8_e4m3", "bf16"),
    "NVFP4": Precision("nvfp4", "nvfp4"),
    "NVFP4_AWQ": Precision("nvfp4", "nvfp4"),
    "W4A16_NVFP4": Precision("nvfp4", "bf16"),
    "W4A8_NVFP4_FP8": Precision("nvfp4", "fp8_e4m3"),
    "MXFP8": Precision("mxfp8", "mxfp8"),
    "MXFP4": Precision("mxfp4", "bf16"),
    "W4A8_MXFP4_FP8": Precision("mxfp4", "fp8_e4m3"),
    "INT8_SQ": Precision("int8", "int8"),
    "W4A16_AWQ": Precision("int4_g128", "bf16"),
    "W4A8_AWQ": Precision("int4_g128", "fp8_e4m3"),
}
"""ModelOpt's names of whole recipes."""

_KV_ALGOS: Mapping[str, str] = {"FP8": "fp8_e4m3", "NVFP4": "nvfp4", "INT8": "int8"}


@dataclass(slots=True)
class Recipe:
    """Answers how a module is stored.

    ``named`` holds modules with a precision of their own; ``ignored`` those that stay in ``plain``. The
    router and the output head stay plain unless they are named, as in every published checkpoint.
    """

    plain: str = "bf16"
    base: Precision | None = None
    experts: Precision | None = None  # a precision that only routed experts have
    ignored: Patterns[bool] = field(default_factory=Patterns[bool])
    named: Patterns[Precision] = field(default_factory=Patterns[Precision])
    kv: str | None = None
    work: dict[str, float] = field(default_factory=dict[str, float])  # activation dtype -> weights per token

    def of(self, module: str, *, group: str = "attention") -> Precision:
        """The precision of ``module``, a canonical name; ``group`` is one of the groups of a matrix."""
        plain = Precision(self.plain, self.plain)
        if self.base is None and self.experts is None and not self.named:
            return plain
        own = self.named.find(module)
        if own is not None:
            return own
        if group == "experts" and self.experts is not None:
            return self.experts
        if self.base is None or group in ("head", "router") or self.ignored.find(module):
            return plain
        return self.base

    def note(self, precision: Precision, values: float) -> None:
        """Remember that a quantised matrix of ``values`` weights per token multiplies with this precision."""
        if precision.weight != self.plain:
            self.work[precision.activation] = self.work.get(precision.activation, 0.0) + values

    def activation(self) -> str:
        """What most of the quantised work multiplies with."""
        return max(self.work, key=lambda dtype: self.work[dtype]) if self.work else self.plain


def read_recipe(config: Keys, text: Keys, hf_quant: Keys | None = None) -> Recipe:
    """Read the recipe from ``quantization_config`` (outer or inner) and ModelOpt's separate file."""
    recipe = Recipe(plain=_float(config, text))
    holder = config if config.get("quantization_config") else text
    has_own = bool(holder.get("quantization_config"))  # an empty object says: not quantised
    if has_own:
        _read_config(holder.section("quantization_config"), recipe)
    if hf_quant is not None:
        inner = hf_quant.section("quantization") if hf_quant.has("quantization") else hf_quant
        if has_own:
            recipe.kv = recipe.kv or _read_kv(inner)
        else:
            _read_modelopt(inner, recipe)
    if text.has("expert_dtype"):
        word = text.text("expert_dtype")
        if word == "fp4":
            # Four-bit experts with a power-of-two scale per 32 values, multiplied in FP8
            recipe.experts = Precision("mxfp4", "fp8_e4m3")
        elif word not in ("fp8", "bf16"):
            raise text.refuse(f"expert_dtype {say(word)}")
    config.check()
    return recipe


def _float(config: Keys, text: Keys) -> str:
    for keys in (text, config):
        if keys.has("torch_dtype", "dtype"):
            word = keys.text("torch_dtype", "dtype").removeprefix("torch.")
            if word == "auto":
                return "bf16"
            if word not in FLOATS:
                keys.fault("torch_dtype", f"one of {', '.join(FLOATS)} is wanted, not {say(word)}")
                return "bf16"
            return FLOATS[word]
    return "bf16"


def _read_config(keys: Keys, recipe: Recipe) -> None:
    method = keys.text("quant_method", default="modelopt" if keys.has("quant_algo") else "")
    if method == "fp8":
        recipe.base = Precision("fp8_e4m3", "fp8_e4m3")
        _add_all(keys, recipe.ignored, "modules_to_not_convert")
        if keys.has("quantized_layers"):
            _read_named(keys, recipe)  # its ignore list keeps modules out of the named recipe, not out of FP8
        else:
            _add_all(keys, recipe.ignored, "ignore", "ignored_layers")
    elif method == "mxfp4":
        recipe.base = Precision("mxfp4", recipe.plain)
        _add_all(keys, recipe.ignored, "modules_to_not_convert")
    elif method == "compressed-tensors":
        _read_groups(keys, recipe)
    elif method in ("modelopt", "modelopt_fp4", "modelopt_fp8", "modelopt_mixed"):
        _read_modelopt(keys, recipe)
    elif method in ("awq", "gptq", "gptq_marlin", "awq_marlin"):
        size = keys.count("group_size", default=128, low=-1)
        recipe.base = Precision(_integer(keys, keys.count("bits", "w_bit", default=4), size), recipe.plain)
        _add_all(keys, recipe.ignored, "modules_to_not_convert")
    else:
        raise keys.refuse(
            f"quant_method {say(method)}",
            hint="supported: fp8, mxfp4, compressed-tensors, modelopt, awq, gptq",
        )
    recipe.kv = recipe.kv or _read_kv(keys)


def _read_modelopt(keys: Keys, recipe: Recipe) -> None:
    algo = keys.text("quant_algo", default="")
    if algo in _ALGOS:
        recipe.base = _ALGOS[algo]
    elif algo == "MIXED_PRECISION":
        _read_named(keys, recipe)
    elif algo:
        raise keys.refuse(f"quant_algo {say(algo)}")
    _add_all(keys, recipe.ignored, "ignore", "exclude_modules")
    recipe.kv = recipe.kv or _read_kv(keys)


def _read_named(keys: Keys, recipe: Recipe) -> None:
    layers = keys.get("quantized_layers")
    if not isinstance(layers, Mapping):
        keys.fault("quantized_layers", f"an object is wanted, not {say(layers)}")
        return
    section = keys.section("quantized_layers")
    for name in layers:  # pyright: ignore[reportUnknownVariableType]
        algo = section.section(str(name)).text("quant_algo")  # pyright: ignore[reportUnknownArgumentType]
        if algo not in _ALGOS:
            keys.check()
            raise keys.refuse(f"quant_algo {say(algo)}")
        _add(keys, recipe.named, str(name), _ALGOS[algo])  # pyright: ignore[reportUnknownArgumentType]


def _read_groups(keys: Keys, recipe: Recipe) -> None:
    groups = keys.section("config_groups")
    default_form = keys.text("format", default="")
    for name in ("group_0", "group_1", "group_2", "group_3"):
        if not groups.has(name):
            continue
        group = groups.section(name)
        precision = _group(group, group.text("format", default=default_form), recipe.plain)
        for target in group.items("targets") or ("Linear",):
            if target == "Linear":
                recipe.base = precision
            elif isinstance(target, str):
                _add(keys, recipe.named, target, precision)
            else:
                group.fault("targets", f"a list of texts is wanted; {say(target)} is none")
    if groups.has("group_4"):
        raise keys.refuse("more than four config_groups")
    _add_all(keys, recipe.ignored, "ignore")


def _group(group: Keys, form: str, plain: str) -> Precision:
    weights = group.section("weights")
    bits, kind = weights.count("num_bits"), weights.text("type", default="int")
    size = weights.count("group_size", default=-1, low=-1)
    if kind == "float":
        by_bits = {8: "fp8_e4m3", 4: "mxfp4" if form.startswith("mxfp4") else "nvfp4"}
        if form.startswith("mxfp8"):
            by_bits[8] = "mxfp8"
        if bits not in by_bits:
            raise weights.refuse(f"float weights of {bits} bits")
        weight = by_bits[bits]
    else:
        weight = _integer(weights, bits, size)
    if not group.has("input_activations"):
        return Precision(weight, plain)
    inputs = group.section("input_activations")
    bits, kind = inputs.count("num_bits"), inputs.text("type", default="int")
    by_kind = {
        ("float", 8): "fp8_e4m3",
        ("int", 8): "int8",
        ("float", 4): "mxfp4" if weight == "mxfp4" else "nvfp4",
    }
    if (kind, bits) not in by_kind:
        raise inputs.refuse(f"{kind} activations of {bits} bits")
    return Precision(weight, by_kind[kind, bits])


def _integer(keys: Keys, bits: int, group_size: int) -> str:
    names = {(8, 0): "int8", (4, 32): "int4_g32", (4, 128): "int4_g128", (4, 0): "int4"}
    name = names.get((bits, group_size if bits == 4 and group_size > 0 else 0))
    if name is None:
        raise keys.refuse(f"integer weights of {bits} bits in groups of {group_size}")
    return name


def _read_kv(keys: Keys) -> str | None:
    scheme = keys.get("kv_cache_scheme", "kv_cache_quant_algo")
    if scheme is None:
        return None
    if isinstance(scheme, str):
        if scheme not in _KV_ALGOS:
            raise keys.refuse(f"a key-value cache of {say(scheme)}")
        return _KV_ALGOS[scheme]
    section = keys.section("kv_cache_scheme")
    bits, kind = section.count("num_bits"), section.text("type", default="int")
    dtype = {(8, "float"): "fp8_e4m3", (8, "int"): "int8", (4, "float"): "nvfp4"}.get((bits, kind))
    if dtype is None:
        raise keys.refuse(f"a key-value cache of {bits}-bit {say(kind)}")
    return dtype


def _add_all(keys: Keys, patterns: Patterns[bool], *names: str) -> None:
    for name in names:
        for item in keys.items(name) or ():
            if isinstance(item, str):
                _add(keys, patterns, item, True)
            else:
                keys.fault(name, f"a list of texts is wanted; {say(item)} is none")


def _add(keys: Keys, patterns: Patterns[Value], pattern: str, value: Value) -> None:
    try:
        patterns.add(pattern, value)
    except PatternError as error:
        raise keys.refuse(f"the module pattern {say(str(error))}") from None
