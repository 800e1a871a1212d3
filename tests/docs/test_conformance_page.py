"""The pages of conformance and findings say what their data and scripts say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent.parent.parent / "docs"


def test_the_conformance_page_is_what_its_data_say() -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "conformance.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_finding_has_its_script_and_every_script_its_finding() -> None:
    told = set(re.findall(r"\(findings/(\w+)\.py\)", (DOCS / "findings.md").read_text(encoding="utf-8")))
    there = {file.stem for file in (DOCS / "findings").glob("*.py")} - {"one_node"}
    assert told == there


def test_scripts_run_without_this_project() -> None:
    for file in (DOCS / "findings").glob("*.py"):
        assert "dougong" not in file.read_text(encoding="utf-8"), file.name
