"""``dougong calibrate``: let measured runs correct the calibration of a machine."""

from __future__ import annotations

from pathlib import Path

import click

from dougong.cli.completion import (
    complete_choice,
    complete_files,
    complete_folders,
    local_folder,
    open_catalog,
)
from dougong.cli.lazy import Option, SectionedCommand
from dougong.cli.output import print_json
from dougong.cli.words import Faults

WHAT, OUTPUTS = "What was measured", "Output"


@click.command("calibrate", cls=SectionedCommand, short_help="Let measured runs correct a calibration.")
@click.argument("runs", nargs=-1, required=True, metavar="RUN…", shell_complete=complete_files)
@click.option(
    "--model", cls=Option, section=WHAT, metavar="MODEL", required=True, help="The model that was served."
)
@click.option(
    "--on", "system", cls=Option, section=WHAT, metavar="SYSTEM", default="local", show_default=True,
    help="Where: a system of one device.",
)  # fmt: skip
@click.option(
    "--engine", cls=Option, section=WHAT, metavar="CLASS", default="llama-cpp", show_default=True,
    help="Engine class of the calibration.", shell_complete=complete_choice,
)  # fmt: skip
@click.option(
    "--precision", cls=Option, section=WHAT, metavar="WORD", default="auto", show_default=True,
    help="As it was served, as q4_1.", shell_complete=complete_choice,
)  # fmt: skip
@click.option(
    "--catalog", "folders", cls=Option, section=OUTPUTS, metavar="DIR", multiple=True,
    help="A folder of your own records; may be repeated.", shell_complete=complete_folders,
)  # fmt: skip
@click.option(
    "--out", cls=Option, section=OUTPUTS, metavar="DIR", shell_complete=complete_folders,
    help="Write the calibration here [where every plan finds it].",
)  # fmt: skip
@click.option("--dry-run", cls=Option, section=OUTPUTS, is_flag=True, help="Say it, and write nothing.")
@click.option(
    "--json",
    "as_json",
    cls=Option,
    section=OUTPUTS,
    is_flag=True,
    help="Print JSON in base units instead of text.",
)
def calibrate(
    runs: tuple[str, ...],
    model: str,
    system: str,
    engine: str,
    precision: str,
    folders: tuple[str, ...],
    out: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Fold RUN…, files of `dougong measure --out`, into the calibration of a machine and an engine class.

    Six numbers are fitted to all runs together, and again without each run: the table shows how far off predictions
    were, are, and are for a run that the fit had not seen.
    """
    from dougong.calibration.engines import engine_class
    from dougong.calibration.local import FOLDER, Local, read_local
    from dougong.cost.precision import PRECISIONS
    from dougong.measure.calibrate import Machine, case_of
    from dougong.measure.calibrate import calibrate as fold
    from dougong.metrics import read_run

    faults = Faults()
    catalog = open_catalog(folders)
    served = faults.keep("--model", lambda: catalog.model(model))
    place = faults.keep("--on", lambda: catalog.system(system))
    faults.keep("--engine", lambda: engine_class(engine))
    faults.choice("--precision", precision, PRECISIONS)
    cases = [faults.keep("", lambda file=file: case_of(read_run(file))) for file in runs]
    faults.raise_if_any()
    assert served is not None
    assert place is not None
    locals_ = read_local(catalog.roots)
    local = locals_.get(place.chip.id) or Local(chip=place.chip.id, how="engine class alone")
    machine = Machine.of(served, place, local, engine=engine, precision=precision)
    found = fold(machine, [case for case in cases if case is not None], local)
    folder = Path(out) if out else local_folder()
    if not dry_run:
        path = folder / FOLDER / f"{place.chip.id}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found.local.toml(), encoding="utf-8")
        click.echo(f"written: {path}", err=True)
    from dougong.report.calibrate import draw_calibrated, dump_calibrated

    if as_json:
        print_json(dump_calibrated(found, str(folder)))
    else:
        from dougong.report.terminal import show

        show(draw_calibrated(found))
    return 0
