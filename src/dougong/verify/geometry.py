"""Extents of real models, read from the catalog, so that what is planned and what is verified never disagree."""

from __future__ import annotations

from functools import cache

from dougong.catalog import Catalog
from dougong.catalog.models import Core, Experts, Model


@cache
def _catalog() -> Catalog:
    return Catalog.open()


@cache
def model(name: str) -> Model:
    """Return the record of a model of the catalog."""
    return _catalog().model(name)


def matrix(name: str, matrix_name: str) -> tuple[int, int]:
    """Return the outputs and inputs of a weight matrix, ``lm_head`` among them, as ``(n, k)``.

    Raises
    ------
    KeyError
        Where the model has no such matrix.
    """
    record = model(name)
    if matrix_name == "lm_head":
        return record.vocab_size, record.hidden_size
    for _, linear in record.each_linear():
        if linear.name == matrix_name:
            return linear.outputs, linear.inputs
    raise KeyError(f"{name} has no matrix {matrix_name}")


def core(name: str, kind: str = "full") -> Core:
    """Return the first attention core of a kind: ``full``, ``mla`` or ``linear``.

    Raises
    ------
    KeyError
        Where the model has none.
    """
    for layer in model(name).layers:
        if layer.core.kind == kind:
            return layer.core
    raise KeyError(f"{name} has no {kind} attention")


def experts(name: str) -> Experts:
    """Return the first bank of experts of a model.

    Raises
    ------
    KeyError
        Where the model is dense.
    """
    for layer in model(name).layers:
        if layer.experts is not None:
            return layer.experts
    raise KeyError(f"{name} has no experts")
