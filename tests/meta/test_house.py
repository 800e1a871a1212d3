"""House rules that a machine can hold: direction, size, words, and a light front door."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
MODULES = sorted((ROOT / "src").rglob("*.py"))
LIMIT = 400

# Places of one machine, and words that belong to no reader of this project.
FORBIDDEN = re.compile(
    r"(?<![\w.])/"
    + r"(work|tmp|root|farm)/"
    + r"|\bTODO\b|\bFIXME\b|\bXXX\b|"
    + r"\b(AI agent|Claude|ChatGPT)\b"
)


def tracked() -> list[Path]:
    """Text files under version control, or those of a source tree without it."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = done.stdout.split("\n") if done.returncode == 0 else []
    paths = [ROOT / name for name in names if name] or [
        path for path in ROOT.rglob("*.*") if ".venv" not in path.parts
    ]
    return [
        path
        for path in paths
        if path.suffix in {".py", ".md", ".toml", ".txt", ".csv", ""} and path.is_file()
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_a_module_stays_small(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LIMIT, f"{lines} lines: cut it along a seam"


def test_import_contracts_hold() -> None:
    pytest.importorskip("importlinter")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as run; run()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_machine_place_and_no_left_over_is_tracked() -> None:
    here = Path(__file__)
    faults = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in tracked()
        if path != here
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if FORBIDDEN.search(line)
    ]
    assert not faults, "\n".join(faults)


def loaded_by(statement: str) -> set[str]:
    """Top-level packages in ``sys.modules`` after ``statement`` in a fresh interpreter."""
    code = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"numpy", "pydantic", "rich", "matplotlib", "scipy"}


@pytest.mark.parametrize(
    "statement",
    [
        "import dougong.cli",
        "import dougong.catalog",
        "import dougong.workload",
        "import dougong.report",
        "from dougong.cli import main; main(['--version'])",
        "from dougong.cli import main; main(['--help'])",
        "from dougong.cli import main; main(['plan', '--help'])",
    ],
)
def test_the_front_door_is_light(statement: str) -> None:
    assert not loaded_by(statement) & HEAVY


def test_each_room_has_a_door() -> None:
    rooms = [
        path for path in (ROOT / "src" / "dougong").iterdir() if path.is_dir() and path.name != "__pycache__"
    ]
    without = [room.name for room in rooms if any(room.glob("*.py")) and not (room / "__init__.py").exists()]
    assert not without, f"rooms without an __init__.py that says what they are: {without}"
