"""``dougong probe``: measure this machine, so that it can be planned for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from dougong.cli.completion import complete_folders, local_folder
from dougong.cli.lazy import Option, SectionedCommand
from dougong.cli.output import print_json
from dougong.cli.words import Faults

WHAT, OUTPUTS = "What", "Output"


@click.command(
    "probe", cls=SectionedCommand, short_help="Measure this machine, so that it can be planned for."
)
@click.option(
    "--threads", cls=Option, section=WHAT, metavar="N", help="Threads that compute [as many as serve takes]."
)
@click.option(
    "--device",
    cls=Option,
    section=WHAT,
    metavar="NAME",
    help="Also measure this PyTorch device, as cuda:0, and make a system of it, as local-cuda-0.",
)
@click.option(
    "--quick", cls=Option, section=WHAT, is_flag=True, help="Fewer sizes and shapes: seconds, not minutes."
)
@click.option(
    "--out",
    cls=Option,
    section=OUTPUTS,
    metavar="DIR",
    shell_complete=complete_folders,
    help="Write the records here [where every plan finds them].",
)
@click.option(
    "--json",
    "as_json",
    cls=Option,
    section=OUTPUTS,
    is_flag=True,
    help="Print JSON in base units instead of text.",
)
def probe(threads: str | None, device: str | None, quick: bool, out: str | None, as_json: bool) -> int:
    """Measure this machine: memory bandwidth, GEMM by shape and format, attention, small operators.

    It writes a chip, a system called local and a calibration, so that `dougong plan MODEL --on local` answers for this
    machine. A single thread is timed by its own processor time, which other work on the machine does not stretch.
    """
    faults = Faults()
    count = faults.count("--threads", threads)
    if count is not None and not 1 <= count <= 4096:
        faults.add("--threads", f"from 1 to 4,096, not {count:,}")
    if device is not None and not device.replace(":", "").isalnum():
        faults.add("--device", f"{device!r} is no device, as cpu or cuda:0")
    folder = Path(out) if out else local_folder()
    if folder.exists() and not folder.is_dir():
        faults.add("--out", f"{str(folder)!r} is no folder")
    faults.raise_if_any()

    from dougong.engines.devices.host import worker_threads
    from dougong.measure.probe import records
    from dougong.measure.probe.run import probe as run_probe

    told = _Told()
    probed = run_probe(threads=count or worker_threads(), device=device, quick=quick, on_row=told.row)
    told.end()
    records.write(folder, probed.rows, probed.fitted, threads=probed.threads, device=probed.device)
    click.echo(f"written: {folder}", err=True)
    from dougong.report.probe import draw_probe, dump_probe

    if as_json:
        print_json(dump_probe(probed, records.cpu_name(), str(folder)))
    else:
        from dougong.report.terminal import show

        show(draw_probe(probed, records.cpu_name(), catalog=str(folder) if out else None))
    return 0


class _Told:
    """One line on a terminal: what is being measured."""

    def __init__(self) -> None:
        self.count = 0
        self.tty = sys.stderr.isatty()

    def row(self, row: Any) -> None:
        self.count += 1
        if self.tty:
            shape = f"{row.m} x {row.n} x {row.k}" if row.k else f"{row.context}" if row.context else ""
            click.echo(
                f"\r\x1b[2K{self.count} measured: {row.library} {row.op} {row.dtype} {shape}",
                err=True,
                nl=False,
            )

    def end(self) -> None:
        if self.tty:
            click.echo("", err=True)
