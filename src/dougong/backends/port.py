"""What a backend is: something that runs one operator on one device of one software stack.

A backend is found by the entry point group ``dougong.backends``; :func:`dougong.testing.check_backend` holds one to
this contract. Arrays are numpy arrays; the dtypes that numpy lacks (``bfloat16``, ``float8_e4m3fn``, …) are those of
ml_dtypes. A backend may be handed strided, expanded and empty arrays, and must not write to its inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from numpy.typing import NDArray

from dougong.ops.semantics import SWITCHES

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Call:
    """One operator with its inputs and attributes; ``op`` names a :class:`dougong.ops.definition.Definition`.

    An optional input that is absent is not in ``inputs``; an attribute at its default may be left out.

    Attributes
    ----------
    semantics
        Answers to :data:`dougong.ops.semantics.SWITCHES`, for the reference alone: a stack is never told which
        answer is wanted.
    """

    op: str
    inputs: Mapping[str, Array]
    attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    semantics: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or its default."""
        return self.attributes.get(name, default)

    def answer_to(self, switch: str) -> str:
        """Return the answer that the reference is to give where specifications are silent."""
        return self.semantics.get(switch, SWITCHES[switch].answers[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What came out, and where it was computed.

    ``device`` is what the runtime says it ran on, after the run. ``fallback`` says which part was computed elsewhere
    (another device, another kernel route than the one under test); ``None`` where nothing was. ``wrote`` names an
    input, or memory beside it, that the operator changed on its device; ``None`` where the adapter saw nothing of it.
    """

    outputs: Mapping[str, Array]
    device: str
    fallback: str | None = None
    wrote: str | None = None


class Unsupported(Exception):
    """The stack does not offer this operator, dtype or attribute; the text says which. Not a fault."""


class Refused(Exception):
    """Raised by a reference formula: the right thing to do with this call is to raise an error."""


class Backend(Protocol):
    """A way to run operators.

    Attributes
    ----------
    name
        As on the command line: ``torch-cpu``.
    """

    name: str

    def describe(self) -> Mapping[str, str]:
        """Every element of the stack that may change a number: chip, driver, framework, versions, flags."""
        ...

    def run(self, call: Call) -> Answer:
        """Compute one operator.

        Raises
        ------
        Unsupported
            Where the stack does not offer it.
        """
        ...
