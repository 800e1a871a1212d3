"""A device that was measured through PyTorch, as a chip of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dougong.engines.platforms import PLATFORMS
from dougong.errors import EnvironmentLacking
from dougong.measure.probe.fit import Fitted, operator_of, peaks_of
from dougong.measure.probe.rows import Row

_ELEMENT_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProbe:
    """One device and what its rows came to.

    Attributes
    ----------
    id
        Of its chip record and of the system of that one chip: ``local-cuda-0``, ``local-torch-cpu``.
    name
        As PyTorch tells it.
    vendor
        As the catalog names it; ``Local`` where neither the device's type nor its name says.
    torch_device
        Its type, as ``cuda``.
    memory_bytes
        Its memory [byte]; None where PyTorch does not tell it.
    """

    id: str
    name: str
    vendor: str
    torch_device: str
    memory_bytes: float | None
    fitted: Fitted


def device_of(device: str, about: Mapping[str, object], rows: Sequence[Row]) -> DeviceProbe:
    """Fit the rows of a device.

    Parameters
    ----------
    device
        As it was asked for: ``cuda:0``.
    about
        What PyTorch says of it: ``name`` and ``memory_bytes``.
    rows
        Those of ``torch``.
    """
    kind = device.partition(":")[0]
    name, memory = str(about.get("name") or device), about.get("memory_bytes")
    return DeviceProbe(
        id="local-torch-cpu" if kind == "cpu" else f"local-{device.replace(':', '-')}",
        name=name,
        vendor=_vendor(kind, name),
        torch_device=kind,
        memory_bytes=float(memory) if isinstance(memory, int | float) and memory > 0 else None,
        fitted=fit_device(rows),
    )


def fit_device(rows: Sequence[Row]) -> Fitted:
    """Fit peaks, bandwidth, the cost of a launch and the share of the peaks that a GEMM reaches.

    Attention is not measured: there a plan goes by what all chips share.
    """
    copies = [row.bytes / row.seconds for row in rows if row.op == "copy"]
    launches = [row.seconds for row in rows if row.op == "launch"]
    peaks = peaks_of(rows)
    if not (copies and launches and peaks):
        raise EnvironmentLacking("the device was not measured whole: a copy, a launch and a GEMM are wanted")
    operator, error = operator_of(
        rows,
        peaks,
        max(copies),
        fixed={"elementwise_fixed_s": max(min(launches), 1e-9)},
        io_bytes=lambda row: _ELEMENT_BYTES[row.dtype] * row.m * (row.n + row.k),
    )
    return Fitted(
        peaks=peaks, bandwidth_bytes_per_s=max(copies), operator=operator, engine={}, error_frac=error
    )


def _vendor(kind: str, name: str) -> str:
    if kind == "cpu":
        return "Local"
    vendors = [vendor for one in PLATFORMS.values() if one.torch_device == kind for vendor in one.vendors]
    said = [vendor for vendor in vendors if vendor.split()[0].lower() in name.lower()]
    return next(iter(said or (vendors if len(vendors) == 1 else [])), "Local")
