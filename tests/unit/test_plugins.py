"""Entry points: listed without importing, loaded with their faults told, names not stolen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dougong.errors import PluginError
from dougong.plugins import discover, load_all

GROUP = "dougong.test-group"


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a distribution that offers ``entries`` under the test group."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(package: str, entries: dict[str, str], files: dict[str, str] | None = None) -> None:
        folder = tmp_path / f"{package}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in entries.items()]
        (folder / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
        for name, text in (files or {}).items():
            (tmp_path / name).write_text(text)

    return install


def test_listing_imports_nothing(offer) -> None:
    offer(
        "vendor-pack", {"boom": "vendor_boom:engine"}, {"vendor_boom.py": "raise OSError('no libascendcl')"}
    )
    found = discover(GROUP)
    assert found["boom"].package == "vendor-pack"
    assert "vendor_boom" not in sys.modules
    with pytest.raises(PluginError, match="OSError: no libascendcl"):
        found["boom"]()


def test_a_plugin_that_fails_is_listed_beside_those_that_load(offer) -> None:
    offer(
        "strangers",
        {
            "good": "stranger_good:Thing.part",
            "missing": "stranger_absent:x",
            "hollow": "stranger_good:nothing",
        },
        {"stranger_good.py": "class Thing:\n    part = 'loaded'\n"},
    )
    loaded, failed = load_all(GROUP)
    assert loaded == {"good": "loaded"}
    assert set(failed) == {"missing", "hollow"}
    assert "strangers" in str(failed["missing"])
    assert "pip uninstall strangers" in (failed["missing"].hint or "")


def test_a_name_is_not_taken_over(offer) -> None:
    offer("aa-first", {"same": "aa:x"})
    offer("bb-second", {"same": "bb:x"})
    found = discover(GROUP)
    assert found["same"].package == "aa-first"
    with pytest.raises(PluginError, match="taken by aa-first"):
        found["same (bb-second)"]()


def test_an_unknown_group_is_empty() -> None:
    assert discover("dougong.nobody") == {}


def test_the_module_is_light() -> None:
    code = "import sys; import dougong.plugins; print('tomllib' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
