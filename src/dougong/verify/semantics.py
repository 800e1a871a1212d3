"""Profiles: which answers conform where specifications are silent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

from dougong.errors import UnknownId
from dougong.ops.semantics import SWITCHES


@dataclass(frozen=True, slots=True, kw_only=True)
class Semantics:
    """A profile of semantics: accepted answers per switch, and which relations must hold bit for bit.

    Attributes
    ----------
    bitwise
        Checks (``determinism``, ``batch_invariance``, ``chunk_invariance``) that ask for equal bits; of the others a
        difference within the error bound is a fact, not a fault.
    """

    name: str
    says: str
    accepts: Mapping[str, tuple[str, ...]]
    bitwise: frozenset[str]

    def choices(self, switches: Sequence[str]) -> Iterator[tuple[dict[str, str], bool]]:
        """Yield every combination of answers and whether it conforms, those that do first."""
        every = [
            dict(zip(switches, answers, strict=True))
            for answers in product(*(SWITCHES[name].answers for name in switches))
        ]
        yield from ((each, True) for each in every if self.conforms(each))
        yield from ((each, False) for each in every if not self.conforms(each))

    def conforms(self, choice: Mapping[str, str]) -> bool:
        """Whether every answer of ``choice`` is accepted."""
        return all(answer in self.accepts[name] for name, answer in choice.items())


_ALL = {name: switch.answers for name, switch in SWITCHES.items()}

# What a language model needs to come out the same on any chip; where either answer does no harm, both stand.
_STRICT: dict[str, tuple[str, ...]] = {
    "masked_row": ("zeros", "nan"),
    "masked_nan": ("hidden", "propagates"),
    "causal_alignment": ("bottom_right",),
    "gqa_mapping": ("repeat",),
    "nan_in_max": ("propagates",),
    "nan_in_argmax": ("first_nan",),
    "nan_in_order": ("first",),
    "nan_in_clamp": ("propagates",),
    "tie_order": ("lowest_index", "any"),
    "softmax_inf": ("nan",),
    "softmax_nan": ("row",),
    "activation_limit": ("limit", "nan"),
    "slot_beyond_cache": ("raises", "ignored"),
    "overflow": ("infinity",),
    "float8_overflow": ("saturates", "nan"),
    "integer_cast": ("saturates", "wraps", "any"),
    "subnormals": ("kept",),
    "out_of_range_id": ("raises",),
    "negative_id": ("from_the_end", "raises"),
    "duplicate_write": ("last", "any"),
    "negative_division": ("floor",),
    "zero_scale": ("zeros",),
    "integer_tie": ("even",),
    "half_round_trip": ("rounds",),
}

_RELAXED: dict[str, tuple[str, ...]] = {
    **_ALL,
    "causal_alignment": ("bottom_right",),
    "gqa_mapping": ("repeat",),
    "overflow": ("infinity",),
    "zero_scale": ("zeros",),
}

SEMANTICS: Mapping[str, Semantics] = MappingProxyType(
    {
        each.name: each
        for each in (
            Semantics(
                name="llm-strict",
                says="what PyTorch and the models' own code do; a silent difference is a deviation",
                accepts=_STRICT,
                bitwise=frozenset({"determinism"}),
            ),
            Semantics(
                name="llm-relaxed",
                says="any answer that leaves the text of a well-formed request as it is",
                accepts=_RELAXED,
                bitwise=frozenset(),
            ),
            Semantics(
                name="llm-invariant",
                says="llm-strict, and a row's answer keeps its bits whatever shares its batch or its chunk",
                accepts=_STRICT,
                bitwise=frozenset({"determinism", "batch_invariance", "chunk_invariance"}),
            ),
        )
    }
)
"""Every profile of semantics, by name."""


def semantics_of(name: str) -> Semantics:
    """Find a profile of semantics.

    Raises
    ------
    UnknownId
        With the names there are.
    """
    if name not in SEMANTICS:
        raise UnknownId("semantics profile", name, SEMANTICS, hint=f"one of: {', '.join(SEMANTICS)}")
    return SEMANTICS[name]
