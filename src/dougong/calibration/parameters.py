"""The fitted numbers, one dataclass field each, and the file they live in.

A parameter is physical and global: it belongs to a class of operators or links, never to a chip or a case.
``parameters.toml`` and ``residuals.toml`` are written by ``python -m dougong.calibration`` and by nothing
else.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from dougong.errors import InputError

SCHEMA = 1
MAY_BE_ZERO = frozenset({"gemm_start_depth", "gemm_serial_frac"})
"""Effects that some chips do not have; every other parameter is positive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Parameters of :mod:`dougong.calibration.forms`, in base units.

    What each means, its unit and the rows it rests on stand beside its value in ``data/parameters.toml``; the
    texts are in :data:`dougong.calibration.families.FAMILIES`.
    """

    gemm_fixed_s: float
    gemm_depth_s: float
    gemm_tile_rows: float
    gemm_vector_rows: float
    gemm_start_depth: float
    gemm_serial_frac: float
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
            If a parameter is missing, unknown, or no positive number (or zero, of :data:`MAY_BE_ZERO`).
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
    """What the fit misses on one group of operators, as ``|log(predicted / measured)|``.

    Attributes
    ----------
    rows, chips, documents
        What the group holds.
    in_sample, leave_one_chip_out, leave_one_document_out
        (median, 90th percentile); None where there is only one chip or document.
    """

    group: str
    rows: int
    chips: int
    documents: tuple[str, ...]
    in_sample: tuple[float, float]
    leave_one_chip_out: tuple[float, float] | None
    leave_one_document_out: tuple[float, float] | None


def _plane(plane: str) -> str:
    # Dies of one package talk by load and store, as chips of a scale-up domain do.
    return "scale_up" if plane == "die_to_die" else plane


def data_file(name: str) -> str:
    """Text of a file in ``calibration/data``."""
    return (Path(__file__).parent / "data" / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _shipped() -> Parameters:
    return _read(data_file("parameters.toml"), "parameters.toml")


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
        value = entries[name]
        good = isinstance(value, (int, float)) and 0 <= value < float("inf")
        if not good or (value == 0 and name not in MAY_BE_ZERO):
            faults.append(f"{name} is {value!r}, not a positive number")
        else:
            values[name] = float(value)
    if faults:
        raise InputError(f"{place}: " + "; ".join(faults))
    return Parameters(**values)


@lru_cache(maxsize=1)
def load_residuals() -> Mapping[str, Residual]:
    """Residuals of each group of operators as shipped, by group."""
    table: Mapping[str, Any] = tomllib.loads(data_file("residuals.toml"))["residual"]

    def pair(entry: Mapping[str, Any], key: str) -> tuple[float, float] | None:
        return (entry[key][0], entry[key][1]) if key in entry else None

    return {
        group: Residual(
            group=group,
            rows=entry["rows"],
            chips=entry["chips"],
            documents=tuple(entry["documents"]),
            in_sample=(entry["in_sample"][0], entry["in_sample"][1]),
            leave_one_chip_out=pair(entry, "leave_one_chip_out"),
            leave_one_document_out=pair(entry, "leave_one_document_out"),
        )
        for group, entry in table.items()
    }


def load_ranges() -> Mapping[str, tuple[float, float]]:
    """Least and greatest value of each parameter over fits that left one chip out, as shipped."""
    table: Mapping[str, Any] = tomllib.loads(data_file("residuals.toml"))["range"]
    return {name: (low, high) for name, (low, high) in table.items()}
