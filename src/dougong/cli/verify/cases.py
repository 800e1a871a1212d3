"""``dougong verify cases``: the cases as files for stacks that read ONNX."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dougong.cli.lazy import SectionedCommand
from dougong.cli.output import counted, print_json
from dougong.cli.words import Faults, names


@click.command("cases", cls=SectionedCommand, short_help="Write cases as ONNX files for any stack.")
@click.option("--onnx", "folder", metavar="DIR", required=True, help="Write a folder per case below DIR.")
@click.option(
    "--profile", type=click.Choice(["smoke", "standard", "full"]), default="smoke", help="Up to this [smoke]."
)
@click.option(
    "--only", metavar="PATTERN,…", multiple=True, help="Only cases whose id begins so or matches the glob."
)
@click.option("--seed", metavar="N", default="0", help="Seed of every input [0].")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def cases(folder: str, profile: str, only: tuple[str, ...], seed: str, as_json: bool) -> int:
    """Write cases as ONNX models with inputs, outputs in float64 rounded once, and the error allowed of each element.

    What opset 23 has no words for is left out and told.
    """
    from dougong.errors import EnvironmentLacking
    from dougong.verify.run import selected

    faults = Faults()
    number = faults.count("--seed", seed)
    faults.raise_if_any()
    try:
        from dougong.verify.onnx_cases import write_cases
    except ImportError as error:
        raise EnvironmentLacking(
            f"cases as ONNX need {error.name}", hint="pip install 'dougong[verify]'"
        ) from error
    chosen = selected(profile, names(only))
    hidden = not sys.stderr.isatty()
    with click.progressbar(
        length=len(chosen), label="cases", file=sys.stderr, hidden=hidden, show_pos=True
    ) as bar:
        written = write_cases(chosen, Path(folder), seed=number or 0, seen=lambda case: bar.update(1))
    if as_json:
        print_json(
            {"kind": "onnx", "folder": folder, "cases": list(written.cases), "left_out": written.left_out}
        )
    else:
        click.echo(
            f"{counted(len(written.cases), 'case')} in {folder}, {written.bytes_written / 1e6:,.0f} MB; "
            f"{len(written.left_out):,} that ONNX opset 23 cannot say are left out (--json names them)"
        )
    return 0
