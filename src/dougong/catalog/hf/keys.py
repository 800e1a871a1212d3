"""Checked access to a configuration that came from outside.

A configuration is hostile until read: every value is typed, bounded and finite before it is used, faults are
collected and raised together, and nothing in it is executed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final, cast

from dougong.errors import CatalogError, UnsupportedModel

SIZE: Final = 1_000_000  # widths, head sizes, ranks [values]
HEADS: Final = 100_000
LAYERS: Final = 10_000
EXPERTS: Final = 100_000
VOCABULARY: Final = 10_000_000
TOKENS: Final = 10_000_000_000  # context lengths and windows [token]

MAX_DEPTH = 24
MAX_NODES = 200_000
_MISSING: Final = object()
_SIZED = re.compile(
    r"(^|_)(num|n|size|dim|dims|rank|heads?|layers?|experts?|top_?k|window|interval|freq|step|ratios?|groups?|modules?)(_|$)"
)
_NESTED = ("text_config", "thinker_config", "llm_config", "language_config")


def say(value: object) -> str:
    """A value as it may stand in a message: short, whatever it is."""
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else "null"
    if isinstance(value, int):
        return str(value) if value.bit_length() < 128 else f"a whole number of {value.bit_length()} bits"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:37] + "...")
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(cast('Sequence[object]', value))}"
    return f"a {type(value).__name__}"


def bound(config: object, where: str) -> None:
    """Refuse what is too deep or too large to be a configuration, before anything walks it."""
    level: list[object] = [config]
    nodes = 0
    for _ in range(MAX_DEPTH):
        nodes += len(level)
        if nodes > MAX_NODES:
            raise CatalogError([f"{where}: more than {MAX_NODES} values; a configuration has a few thousand"])
        below: list[object] = []
        for item in level:
            if isinstance(item, Mapping):
                below.extend(cast("Mapping[object, object]", item).values())
            elif isinstance(item, (list, tuple)):
                below.extend(cast("Sequence[object]", item))
        if not below:
            return
        level = below
    raise CatalogError([f"{where}: nested deeper than {MAX_DEPTH} levels"])


class Keys:
    """One object of a configuration being read; the first of several names that is present counts.

    Getters return a harmless value where the configuration is at fault; call :meth:`check` before computing
    with what they returned.
    """

    def __init__(self, raw: object, *, model: str, place: str = "", faults: list[str] | None = None) -> None:
        self.model, self.place = model, place
        self.faults: list[str] = [] if faults is None else faults
        self.asked: set[str] = set()
        self._raw: Mapping[str, object] = {}
        if isinstance(raw, Mapping):
            self._raw = cast("Mapping[str, object]", raw)
        else:
            self.fault("", f"an object is wanted, not {say(raw)}")

    def fault(self, key: str, what: str) -> None:
        """Note that ``key`` is wrong."""
        place = ".".join(part for part in (self.place, key) if part)
        self.faults.append(f"{self.model}: {place}: {what}" if place else f"{self.model}: {what}")

    def check(self) -> None:
        """Raise every fault found so far, together."""
        if self.faults:
            raise CatalogError(self.faults)

    def refuse(self, part: str, *, hint: str | None = None) -> UnsupportedModel:
        """The error that names a part we do not read."""
        self.check()
        return UnsupportedModel(self.model, part, hint=hint)

    def get(self, *names: str) -> object:
        """The raw value of the first name that is present and not null; None without one."""
        self.asked.update(names)
        for name in names:
            value = self._raw.get(name)
            if value is not None:
                return value
        return None

    def has(self, *names: str) -> bool:
        """Whether one of the names is present and not null."""
        return self.get(*names) is not None

    def _named(self, names: tuple[str, ...], default: object) -> tuple[str, object]:
        for name in names:
            value = self._raw.get(name)
            if value is not None:
                self.asked.update(names)
                return name, value
        self.asked.update(names)
        if default is _MISSING:
            self.fault(names[0], "is missing")
        return names[0], _MISSING

    def count(self, *names: str, default: object = _MISSING, low: int = 1, high: int = SIZE) -> int:
        """A whole number from ``low`` to ``high``."""
        name, value = self._named(names, default)
        if value is _MISSING:
            return default if isinstance(default, int) else low
        return self._whole(name, value, low, high)

    def _whole(self, name: str, value: object, low: int, high: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.fault(name, f"a whole number from {low} to {high} is wanted, not {say(value)}")
            return low
        return value

    def real(self, *names: str, default: object = _MISSING, low: float = 0.0, high: float = 1e6) -> float:
        """A finite number from ``low`` to ``high``."""
        name, value = self._named(names, default)
        if value is _MISSING:
            return default if isinstance(default, float) else low
        if (
            not isinstance(value, (int, float))
            or isinstance(value, bool)
            or not math.isfinite(value if isinstance(value, float) else 0.0)
            or not low <= value <= high
        ):
            self.fault(name, f"a number from {low:g} to {high:g} is wanted, not {say(value)}")
            return low
        return float(value)

    def flag(self, *names: str, default: bool = False) -> bool:
        """True or false."""
        name, value = self._named(names, default)
        if value is _MISSING:
            return default
        if not isinstance(value, bool):
            self.fault(name, f"true or false is wanted, not {say(value)}")
            return default
        return value

    def text(self, *names: str, default: object = _MISSING) -> str:
        """A short string."""
        name, value = self._named(names, default)
        if value is _MISSING:
            return default if isinstance(default, str) else ""
        if not isinstance(value, str) or len(value) > 4_000:
            self.fault(name, f"a text is wanted, not {say(value)}")
            return ""
        return value

    def items(self, *names: str) -> Sequence[object] | None:
        """A list; None where there is none."""
        name, value = self._named(names, None)
        if value is _MISSING:
            return None
        if not isinstance(value, (list, tuple)):
            self.fault(name, f"a list is wanted, not {say(value)}")
            return None
        return cast("Sequence[object]", value)

    def counts(
        self, *names: str, length: int | None = None, low: int = 0, high: int = SIZE
    ) -> list[int] | None:
        """A list of whole numbers, of at least ``length`` entries; None where there is none."""
        values = self.items(*names)
        if values is None or not self._long_enough(names[0], values, length):
            return None
        return [self._whole(f"{names[0]}[{i}]", value, low, high) for i, value in enumerate(values[:length])]

    def words(self, *names: str, choices: Sequence[str], length: int | None = None) -> list[str] | None:
        """A list of words out of ``choices``, of at least ``length`` entries; None where there is none."""
        values = self.items(*names)
        if values is None or not self._long_enough(names[0], values, length):
            return None
        words: list[str] = []
        for i, value in enumerate(values[:length]):
            if isinstance(value, str) and value in choices:
                words.append(value)
            else:
                self.fault(f"{names[0]}[{i}]", f"one of {', '.join(choices)} is wanted, not {say(value)}")
                words.append(choices[0])
        return words

    def _long_enough(self, name: str, values: Sequence[object], length: int | None) -> bool:
        if length is not None and len(values) < length:
            self.fault(name, f"{length} entries are wanted, not {len(values)}")
            return False
        return True

    def section(self, name: str) -> Keys:
        """An object inside this one; an absent one reads as empty."""
        value = self.get(name)
        place = f"{self.place}.{name}" if self.place else name
        return Keys({} if value is None else value, model=self.model, place=place, faults=self.faults)

    def must_not(self, part: str, *names: str) -> None:
        """Refuse the model where one of these keys is set to anything that is not off."""
        for name in names:
            value = self.get(name)
            if value not in (None, False, 0) and value != [] and value != {}:
                raise self.refuse(f"{part} ({name} = {say(value)})")

    def unread(self) -> list[str]:
        """Keys that look as if they size something and that nobody asked for."""
        return sorted(
            name
            for name, value in self._raw.items()
            if isinstance(name, str)  # pyright: ignore[reportUnnecessaryIsInstance]
            and name not in self.asked
            and name not in INERT
            and name not in _NESTED
            and _SIZED.search(name)
            and value not in (None, False, 0)
            and not isinstance(value, (str, Mapping))
        )


INERT = frozenset(
    {
        # generation, training and bookkeeping; none of them changes a shape
        "num_beams", "num_beam_groups", "num_return_sequences", "num_logits_to_keep", "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size", "top_k", "num_labels", "ep_size", "n_group", "topk_group",
        "num_expert_group", "max_window_layers", "topk_method", "pretraining_tp", "aux_loss_alpha",
        "router_aux_loss_coef", "time_step_rank", "time_step_min", "time_step_max", "time_step_floor",
        "time_step_limit", "chunk_size", "chunk_size_feed_forward", "rotary_dim", "qk_head_dim",
        "norm_topk_prob", "layer_norm_epsilon", "layernorm_epsilon", "rope_local_base_freq",
        "use_grouped_topk", "moe_shared_expert_overlap", "apply_query_key_layer_scaling",
    }
)  # fmt: skip
"""Keys whose names look like sizes and whose values change no shape and no count."""
