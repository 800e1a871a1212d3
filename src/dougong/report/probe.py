"""A probed machine as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from dougong.report.dump import plain
from dougong.report.numbers import percent, quantity
from dougong.report.parts import lines, listing, pairs, section

if TYPE_CHECKING:
    from dougong.measure.probe.device import DeviceProbe
    from dougong.measure.probe.rows import Row
    from dougong.measure.probe.run import Probed

_NOISY = 1.3


def draw_probe(probed: Probed, name: str, *, catalog: str | None) -> RenderableType:
    """The report of a probe; ``catalog`` is where the records went if not where every plan looks."""
    fitted = probed.fitted
    best = max(fitted.peaks, key=lambda dtype: fitted.peaks[dtype])
    head = (
        f"{name}, {probed.threads} thread{'' if probed.threads == 1 else 's'}: "
        f"{quantity(fitted.bandwidth_bytes_per_s, 'byte/s')}, "
        f"{quantity(fitted.peaks[best], 'FLOP/s')} in {best}."
    )
    rates = [(dtype, quantity(rate, "FLOP/s")) for dtype, rate in sorted(fitted.peaks.items())]
    parts: list[RenderableType] = [
        Text(head, style="bold"),
        section("Memory", _memory(probed)),
        section("GEMM", pairs(rates), aside="best rate by format of the weights"),
    ]
    if fitted.error_frac:
        missed = [(name, f"{percent(error)} off at the median") for name, error in fitted.error_frac.items()]
        parts.append(
            section("Fitted", pairs(missed), aside="parameters of this machine, on the rows they are of")
        )
    if probed.device is not None:
        parts.append(_device(probed.device))
    notes = list(probed.lacking)
    noisy = [row for row in probed.rows if row.median_s > _NOISY * row.seconds]
    if len(noisy) > len(probed.rows) / 4:
        notes.append(
            f"{len(noisy)} of {len(probed.rows)} rows took {percent(_NOISY - 1)} longer at the median than at the "
            "least: the machine was busy; probe again when it is not"
        )
    where = f" --catalog {catalog}" if catalog else ""
    notes.append(f"plan for it: dougong plan MODEL --on local --engine llama-cpp{where}")
    if probed.device is not None:
        notes.append(f"and for the device: dougong plan MODEL --on {probed.device.id}{where}")
    return Group(*parts, section("Notes", lines(notes)))


def _device(device: DeviceProbe) -> RenderableType:
    fitted = device.fitted
    rows = [
        ("name", device.name),
        ("record", device.id),
        ("copy", quantity(fitted.bandwidth_bytes_per_s, "byte/s")),
        ("launch", quantity(fitted.operator["elementwise_fixed_s"], "s")),
        *((f"GEMM {dtype}", quantity(rate, "FLOP/s")) for dtype, rate in sorted(fitted.peaks.items())),
        *(
            (f"fitted {name}", f"{percent(error)} off at the median")
            for name, error in fitted.error_frac.items()
        ),
    ]
    return section("Device", pairs(rows), aside="through PyTorch")


def dump_probe(probed: Probed, name: str, folder: str) -> dict[str, Any]:
    """The probe as JSON has it."""
    return {
        "kind": "probe",
        "name": name,
        "folder": folder,
        "threads": probed.threads,
        "fitted": plain(probed.fitted),
        "lacking": list(probed.lacking),
        "device": None if probed.device is None else plain(probed.device),
        "rows": [plain(row) for row in probed.rows],
    }


def _memory(probed: Probed) -> RenderableType:
    rows = [row for row in probed.rows if row.op in ("read", "copy", "triad")]
    return listing(
        rows,
        ("", "word", lambda row: row.op),
        ("over", "number", lambda row: quantity(_each(row), "byte")),
        ("by", "word", lambda row: row.library),
        ("rate", "number", lambda row: quantity(row.bytes / row.seconds, "byte/s")),
        ("median", "spare", lambda row: quantity(row.bytes / row.median_s, "byte/s")),
    )


def _each(row: Row) -> float:
    return (
        row.bytes
        / {"read": 1, "copy": 2, "triad": 5}[row.op]
        / (row.threads if row.library == "numpy" else 1)
    )
