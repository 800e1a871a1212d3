"""Operators as ONNX graphs: the form in which a case travels to any stack that reads ONNX.

``GRAPHS`` maps a name of :data:`dougong.ops.definitions.DEFINITIONS` to what writes its nodes; an operator, dtype or
attribute that opset 23 cannot say raises :class:`~dougong.backends.Unsupported`. Every input of the call is an input of
the graph, so that no constant folds it away.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dougong.backends.onnx import (
    attention,
    cache,
    dense,
    elementwise,
    experts,
    index,
    normalisation,
    paged,
    quantised,
    reduction,
    rotary,
    routing,
    sampling,
    shape,
)
from dougong.backends.onnx.graph import OPSET, Build, model_of
from dougong.backends.port import Call, Unsupported

_KINDS = (
    attention,
    cache,
    dense,
    elementwise,
    experts,
    index,
    normalisation,
    paged,
    quantised,
    reduction,
    rotary,
    routing,
    sampling,
    shape,
)

GRAPHS: Mapping[str, Build] = MappingProxyType(
    {name: build for family in _KINDS for name, build in family.GRAPHS.items()}
)
"""What writes the nodes of an operator, by its name."""


def to_onnx(call: Call, dtype: str, opset: int = OPSET) -> bytes:
    """Return a call as a serialised ONNX model; ``dtype`` is the one under test.

    Raises
    ------
    Unsupported
        Where the opset has no words for it.
    """
    if call.op not in GRAPHS:
        raise Unsupported(f"{call.op} has no ONNX graph")
    return model_of(call, dtype, GRAPHS[call.op], opset)


__all__ = ["GRAPHS", "to_onnx"]
