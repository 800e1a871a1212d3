"""From a configuration to the record of a model: finds the family, reads it, and states what is left out."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from dougong.catalog.hf.keys import Keys, bound, say
from dougong.catalog.hf.megatron import translate
from dougong.catalog.hf.parts import Body, gather
from dougong.catalog.hf.quant import Recipe, read_recipe
from dougong.catalog.models import Model
from dougong.catalog.streams import open_bytes
from dougong.errors import CatalogError, InputError, UnsupportedModel

MAX_FILE_BYTES = 1 << 20
"""No configuration is larger; a bigger file is refused unread [byte]."""

Reader = Callable[[Keys, Keys, Recipe, str], Body]

FAMILIES: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("llama", "mistral", "qwen2", "qwen3", "mimo", "olmo2", "olmo3", "glm4"), ("dense", "read")
    ),
    "chatglm": ("dense", "read_chatglm"),
    "qwen": ("dense", "read_qwen"),
    "gemma2": ("gemma", "read"),
    "gemma3": ("gemma", "read"),
    "gemma4": ("gemma", "read_gemma4"),
    "nemotron-nas": ("nemotron", "read_nas"),
    "nemotron_h": ("nemotron", "read_h"),
    "mixtral": ("moe", "read_mixtral"),
    "phimoe": ("moe", "read_mixtral"),
    "qwen2_moe": ("moe", "read_qwen_moe"),
    "qwen3_moe": ("moe", "read_qwen_moe"),
    "gpt_oss": ("moe", "read_gpt_oss"),
    "glm4_moe": ("moe_shared", "read_glm4_moe"),
    "ernie4_5_moe": ("moe_shared", "read_ernie"),
    "hunyuan_v1_moe": ("moe_shared", "read_hunyuan"),
    "step3_text": ("moe_shared", "read_step3"),
    "hy_v3": ("moe_shared", "read_hy_v3"),
    "bailing_moe": ("moe_shared", "read_bailing"),
    "PanguProMoE": ("moe_shared", "read_pangu"),
    "minimax_m1": ("minimax", "read_minimax_m1"),
    "minimax_m2": ("minimax", "read_minimax_m2"),
    "minimax_m3": ("minimax", "read_minimax_m3"),
    "step3p5": ("windowed", "read_step"),
    "mimo_v2_flash": ("windowed", "read_mimo_v2"),
    "llama4": ("windowed", "read_llama4"),
    **dict.fromkeys(("qwen3_next", "qwen3_5", "qwen3_5_moe"), ("linear", "read_qwen_hybrid")),
    "kimi_linear": ("kimi", "read"),
    **dict.fromkeys(
        ("deepseek_v2", "deepseek_v3", "kimi_k2", "glm4_moe_lite", "deepseek_v32", "glm_moe_dsa"),
        ("deepseek", "read"),
    ),
    "deepseek_v4": ("deepseek_v4", "read"),
}
"""``model_type`` -> module of this package and its reader."""

_OTHER_NAMES: Mapping[str, str] = {
    # the same architecture under the name of a wrapper with towers, or of another export
    "kimi_k25": "kimi_k2", "kimi_k3": "kimi_linear", "qwen3_vl": "qwen3", "qwen3_vl_moe": "qwen3_moe",
    "qwen3_omni_moe": "qwen3_moe", "bailing_moe_v2": "bailing_moe", "minimax_text_01": "minimax_m1",
    "minimax_m3_vl": "minimax_m3", "step3p7": "step3p5", "deepseek_ref": "deepseek_v4",
    "hunyuan": "hunyuan_v1_moe", "step3_vl": "step3_text",
    "mimo_v2": "mimo_v2_flash",
}  # fmt: skip
_TOWERS = ("vision_config", "audio_config", "vision_tower_config")


def read_config(
    config: Mapping[str, object],
    *,
    id: str,
    name: str = "",
    vendor: str = "",
    hf_quant: Mapping[str, object] | None = None,
) -> Model:
    """Read the content of a Hugging Face ``config.json`` as a model.

    Parameters
    ----------
    config
        The parsed file; nothing in it is trusted.
    id, name, vendor
        What the record shall be called.
    hf_quant
        The content of ``hf_quant_config.json``, where a checkpoint has one beside its configuration.

    Raises
    ------
    CatalogError
        With every fault of the configuration: the key, what is wanted, the value.
    UnsupportedModel
        If the architecture, the quantisation or a key that changes the arithmetic is not read here.

    Examples
    --------
    >>> shape = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    ...          "intermediate_size": 128, "vocab_size": 256}
    >>> read_config(shape, id="tiny").parameters()
    115008
    """
    bound(config, id)
    outer = Keys(config, model=id)
    outer.check()
    if outer.has("_megatron_arguments") and not outer.has("hidden_size"):
        outer = Keys(translate(outer.section("_megatron_arguments")), model=id)
    text = _language_part(outer)
    family = _family(text, outer)
    module, function = FAMILIES[family]
    extra = None
    if hf_quant is not None:
        bound(hf_quant, id)
        extra = Keys(hf_quant, model=id, place="hf_quant_config", faults=outer.faults)
    recipe = read_recipe(outer, text, extra)
    outer.must_not("an encoder-decoder", "is_encoder_decoder", "add_cross_attention")
    text.must_not("pruned heads", "pruned_heads")
    reader = cast("Reader", getattr(importlib.import_module(f"dougong.catalog.hf.{module}"), function))
    body = reader(text, outer, recipe, family)
    outer.check()
    return _record(body, text, outer, recipe, id=id, name=name or id, vendor=vendor, family=family)


def _language_part(outer: Keys) -> Keys:
    for wrapper in ("thinker_config", ""):
        keys = outer.section(wrapper) if wrapper and outer.has(wrapper) else outer
        if keys.has("text_config"):
            return keys.section("text_config")
    return outer


def _family(text: Keys, outer: Keys) -> str:
    stated = text.text("model_type", default="") or outer.text("model_type", default="") or _by_class(outer)
    outer.check()
    for candidate in (stated, stated.removesuffix("_text")):
        known = _OTHER_NAMES.get(candidate, candidate)
        if known in FAMILIES:
            return known
    if not stated:
        raise CatalogError([f"{outer.model}: model_type: is missing; it names the architecture"])
    raise UnsupportedModel(
        outer.model, f"the architecture {say(stated)}", hint=f"supported: {', '.join(sorted(FAMILIES))}"
    )


def _by_class(outer: Keys) -> str:
    # A configuration without model_type still names its class: "Qwen2Config", "Qwen3OmniMoeFor..."
    named = outer.text("config_class", default="").removesuffix("Config")
    classes = outer.items("architectures") or ()
    if not named and classes and isinstance(classes[0], str):
        named = classes[0].partition("For")[0]
    return re.sub(r"(?<!^)(?=[A-Z])", "_", named[:100]).lower()


def _record(
    body: Body, text: Keys, outer: Keys, recipe: Recipe, *, id: str, name: str, vendor: str, family: str
) -> Model:
    layers = gather(body.blocks)
    notes = list(body.notes)
    if unread := text.unread():
        notes.append(f"keys of the configuration that were not read: {', '.join(unread[:20])}")
    absent = [
        *body.absent,
        *(tower.removesuffix("_config") + " tower" for tower in _TOWERS if outer.has(tower)),
    ]
    return Model(
        id=id, name=name, vendor=vendor, family=family, hidden_size=body.hidden_size,
        vocab_size=body.vocab_size, layers=layers, head=body.head, tied_embeddings=body.tied,
        max_context_tokens=body.max_context, embedding_parameters=body.embedding,
        embedding_dtype=recipe.plain, other_parameters=body.other, mtp_layers=gather(body.mtp),
        mtp_num=body.mtp_num, default_kv_dtype=recipe.kv or body.kv or kv_default(recipe.plain),
        activation_dtype=recipe.activation(), residual_streams=body.streams, absent=tuple(absent),
        notes=tuple(notes),
    )  # fmt: skip


def kv_default(plain: str) -> str:
    """What a cache holds where the checkpoint does not say: the dtype of the activations."""
    return plain if plain in ("bf16", "fp16") else "bf16"


def read_config_file(path: Path | str, *, id: str | None = None) -> Model:
    """Read ``config.json`` or the folder that holds it, and ``hf_quant_config.json`` beside it."""
    given = Path(path)
    file = given / "config.json" if given.is_dir() else given
    config = read_json(file)
    beside = file.with_name("hf_quant_config.json")
    quant = read_json(beside) if beside.is_file() and beside != file else None
    stem = file.parent.resolve().name if file.name == "config.json" else file.stem
    return read_config(config, id=id or stem, hf_quant=quant)


def read_json(path: Path) -> Mapping[str, object]:
    """Read a small JSON object; anything else is an input error that names the file."""
    try:
        with open_bytes(path) as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if len(content) > MAX_FILE_BYTES:
        raise InputError(f"{path}: larger than {MAX_FILE_BYTES} bytes; a config.json is a few kilobytes")
    import json  # not wanted by who reads a record of the catalog

    try:
        value: object = json.loads(content.decode("utf-8-sig"))
    except RecursionError:
        raise InputError(f"{path}: not JSON we read: nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: a JSON object is wanted, not {say(value)}")
    return cast("Mapping[str, object]", value)
