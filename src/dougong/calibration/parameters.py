"""The fitted numbers, one dataclass field each, and the file they live in.

A parameter is physical and global: it belongs to a class of operators or links, never to a chip or a case.
``data/parameters.toml`` is written by ``python -m dougong.calibration`` and by nothing else.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from dougong.errors import InputError

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Parameters of :mod:`dougong.calibration.forms`, in base units.

    What each means, its unit and the rows it rests on stand beside its value in ``data/parameters.toml``; the
    texts are in :data:`dougong.calibration.families.FAMILIES`.
    """

    gemm_fixed_s: float
    gemm_depth_s: float
    gemm_tile_rows: float
    gemm_memory_efficiency: float
    gemm_efficiency_limit: float
    gemm_efficiency: float
    gemm_efficiency_int8: float
    gemm_efficiency_fp4: float
    gemm_balance_flop_per_byte: float
    grouped_padding_rows: float
    elementwise_fixed_s: float
    decode_attention_fixed_s: float
    latent_attention_fixed_s: float
    attention_memory_efficiency: float
    decode_attention_efficiency: float
    sparse_attention_efficiency: float
    prefill_attention_fixed_s: float
    prefill_attention_efficiency: float
    all_reduce_startup_s: float
    all_reduce_engine_startup_s: float
    all_reduce_chunk_s: float
    all_to_all_startup_s: float
    exchange_startup_s: float
    exchange_efficiency: float
    link_latency_scale_up_s: float
    link_latency_scale_out_s: float
    link_latency_host_s: float
    link_efficiency_scale_up: float
    link_efficiency_scale_out: float
    link_efficiency_host: float

    @classmethod
    def load(cls, path: Path | None = None) -> Parameters:
        """Read the shipped parameters, or those of ``path``.

        Raises
        ------
        InputError
            If a parameter is missing, unknown, or no positive number.
        """
        return _shipped() if path is None else _read(path.read_text(encoding="utf-8"), str(path))

    def compute_efficiency(self, dtype: str) -> float:
        """Share of the peak that a large GEMM in ``dtype`` reaches at the reference balance [1].

        The reference is ``gemm_balance_flop_per_byte`` of peak over memory bandwidth, about that of an H100
        in bf16; the forms work out what a chip of another balance reaches.
        """
        if dtype == "int8":
            return self.gemm_efficiency_int8
        if dtype in ("nvfp4", "mxfp4", "fp4"):
            return self.gemm_efficiency_fp4
        return self.gemm_efficiency

    def link_latency_s(self, plane: str) -> float:
        """Default latency of one small message on a plane of the catalog [s]; used where a chip has none."""
        return float(getattr(self, f"link_latency_{_plane(plane)}_s"))

    def link_efficiency(self, plane: str) -> float:
        """Share of the nominal one-way link bandwidth that bulk transfers reach on a plane [1]."""
        return float(getattr(self, f"link_efficiency_{_plane(plane)}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """What the fit of one family of operators misses, as ``|log(predicted / measured)|``.

    Attributes
    ----------
    rows, chips, documents
        What the family was fitted on.
    in_sample, leave_one_chip_out, leave_one_document_out
        (median, 90th percentile); None where there is only one chip or document.
    """

    family: str
    rows: int
    chips: int
    documents: int
    in_sample: tuple[float, float]
    leave_one_chip_out: tuple[float, float] | None
    leave_one_document_out: tuple[float, float] | None


def _plane(plane: str) -> str:
    # Dies of one package talk by load and store, as chips of a scale-up domain do.
    return "scale_up" if plane == "die_to_die" else plane


def data_file(name: str) -> str:
    """Text of a file in ``calibration/data``."""
    return files("dougong.calibration").joinpath("data", name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _table() -> Mapping[str, Any]:
    return tomllib.loads(data_file("parameters.toml"))


@lru_cache(maxsize=1)
def _shipped() -> Parameters:
    return _from(_table(), "parameters.toml")


def _read(text: str, place: str) -> Parameters:
    try:
        return _from(tomllib.loads(text), place)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{place}: not TOML: {error}") from error


def _from(table: Mapping[str, Any], place: str) -> Parameters:
    if table.get("schema") != SCHEMA:
        raise InputError(f"{place}: schema is {table.get('schema')!r}, this version reads {SCHEMA}")
    entries: Mapping[str, Any] = table.get("operator", {})
    names = {field.name for field in fields(Parameters)}
    faults = [f"{name} is missing" for name in sorted(names - set(entries))]
    faults += [f"{name} is no parameter" for name in sorted(set(entries) - names)]
    values: dict[str, float] = {}
    for name in names & set(entries):
        value = entries[name].get("value") if isinstance(entries[name], dict) else entries[name]
        if not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            faults.append(f"{name} is {value!r}, not a positive number")
        else:
            values[name] = float(value)
    if faults:
        raise InputError(f"{place}: " + "; ".join(faults))
    return Parameters(**values)


def load_residuals() -> dict[str, Residual]:
    """Residuals of each family as shipped, by family."""

    def pair(entry: Mapping[str, float] | None) -> tuple[float, float] | None:
        return None if entry is None else (entry["median"], entry["p90"])

    out: dict[str, Residual] = {}
    for family, entry in _table()["residual"].items():
        in_sample = pair(entry["in_sample"])
        assert in_sample is not None
        out[family] = Residual(
            family=family,
            rows=entry["rows"],
            chips=entry["chips"],
            documents=len(entry["documents"]),
            in_sample=in_sample,
            leave_one_chip_out=pair(entry.get("leave_one_chip_out")),
            leave_one_document_out=pair(entry.get("leave_one_document_out")),
        )
    return out
