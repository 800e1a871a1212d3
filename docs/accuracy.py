"""Measure and draw the accuracy page.

``python docs/accuracy.py`` draws it from ``docs/data``; ``--check`` only says whether the page is what the data draw.
With files of rows, fits are made anew without each fold, which takes minutes; ``--peer ENVIRONMENT`` asks the
aiconfigurator that is installed there for the rows of the sample that were not asked before.
"""

import argparse
import sys
import tomllib
from itertools import count
from pathlib import Path

import peer
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from dougong.backtest import Outcome, read_cases, run
from dougong.backtest.accuracy import Peer, PeerRow, accuracy_page
from dougong.backtest.calibrate import folds
from dougong.backtest.case import Case
from dougong.backtest.fitting import bench_of
from dougong.backtest.misses import Cause
from dougong.backtest.questions import PlanPredictor
from dougong.backtest.reading import gather
from dougong.backtest.results import Held, Results, measure, read, write
from dougong.calibration.engines import engine_classes, engine_starts
from dougong.catalog.store import Catalog

HERE = Path(__file__).parent
RECORDS = HERE.parent / "tests" / "published" / "cases"
RESULTS, CAUSES = HERE / "data" / "accuracy-results.json", HERE / "data" / "causes.toml"
PAGE, PICTURE = HERE / "accuracy.md", HERE / "accuracy.png"


def fit_anew(files: list[str]) -> None:
    """Predict our records and the rows of ``files`` with and without their folds, and keep what was found."""
    found = gather([RECORDS, *files])
    for fault in found.faults:
        print(f"warning: {fault}", file=sys.stderr)
    catalog = Catalog.open()
    predictor = PlanPredictor(catalog)
    predictor.prepare(found.cases)
    stated = [case for case in found.cases if isinstance(case, Case) and case.use == "validate"]
    print(f"fitting without each fold of {len(stated):,} cases", file=sys.stderr)
    bench, outcomes = bench_of(stated, catalog), run(found.cases, predictor)
    steps = len({folds(bench)(row) for row in bench.rows}) + len({row.case.vendor for row in bench.rows})
    with Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("fold", total=steps)
        done = count(0)

        def began(fold: str) -> None:
            bar.update(task, completed=next(done), description=fold.rsplit("/", 1)[-1].strip()[:28])

        results = measure(found.cases, outcomes, bench, engine_classes(), engine_starts(), began)
        bar.update(task, completed=steps, description="all folds")
    write(results, RESULTS)


def peer_answers() -> Peer | None:
    """What is kept of the peer, in base units."""
    rows = peer.read()
    if not rows:
        return None

    def seconds(text: str) -> float | None:
        return float(text) / 1e3 if text else None

    return Peer(
        name=f"aiconfigurator {rows[0]['version']} (SILICON)",
        rows=tuple(
            PeerRow(
                id=row["id"],
                ttft_s=seconds(row["ttft_ms"]),
                tpot_s=seconds(row["tpot_ms"]),
                reason=row["error"],
            )
            for row in rows
        ),
    )


def causes() -> list[Cause]:
    """What we think is wrong with the worst misses."""
    listed = tomllib.loads(CAUSES.read_text(encoding="utf-8"))["cause"]
    return [
        Cause(why=raw["why"], cases=tuple(raw.get("cases", ())), match=raw.get("match", "")) for raw in listed
    ]


def page(results: Results) -> str:
    """The page's text."""
    return accuracy_page(results, peer_answers(), causes(), read_cases(RECORDS).serving)


def outcome(item: Held) -> Outcome:
    """A figure as the picture takes it: out of fold where there is a fit without it."""
    guess = item.in_sample if item.out_of_fold is None else item.out_of_fold
    groups = {"vendor": item.case.vendor, "regime": item.case.regime}
    return Outcome(
        id=item.case.id, metric=item.metric, measured=item.measured, predicted=guess, low=item.low, high=item.high,
        error_frac=guess / item.measured - 1, groups=groups,
    )  # fmt: skip


def main(arguments: list[str]) -> int:
    """Measure where asked, then draw or check."""
    parser = argparse.ArgumentParser(description="Measure and draw the accuracy page.")
    parser.add_argument("files", nargs="*", help="rows to fit and predict beside our own records")
    parser.add_argument("--peer", metavar="ENVIRONMENT", type=Path, help="where aiconfigurator is installed")
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    asked = parser.parse_args(arguments)
    if asked.check:
        if PAGE.read_text(encoding="utf-8") == page(read(RESULTS)):
            return 0
        print("docs/accuracy.md is not what docs/data draws; run: make docs", file=sys.stderr)
        return 1
    if asked.files:
        fit_anew(asked.files)
    if asked.peer:
        tables = [Path(file) for file in asked.files if file.endswith(".csv")]
        rows = {name: row for table in tables for name, row in peer.rows_of(table).items()}
        cases = [case for table in tables for case in read_cases(table).serving if case.refused is None]
        peer.ask(asked.peer, cases, rows)
    results = read(RESULTS)
    PAGE.write_text(page(results), encoding="utf-8")
    from dougong.report.pictures import backtest_picture

    head = "Predicted by fits that never saw the document (in the largest: the chip), against measured"
    backtest_picture([outcome(item) for item in results.held], PICTURE, head)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
