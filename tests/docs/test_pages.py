"""Pages say what the program does: help is current, links lead somewhere, commands are real, rooms are listed."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from dougong import errors
from dougong.cli.entry import dougong

ROOT = Path(__file__).parent.parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")
COMMAND = re.compile(r"^(?:\$ |<!-- run: |\t)?(dougong [^\n`]*?)(?: -->)?$", re.MULTILINE)
CODE_PATH = re.compile(r"`((?:src|tests|docs|changelog\.d|catalog/data)/[\w./-]+)`")


@pytest.fixture(scope="module")
def refresh() -> ModuleType:
    spec = importlib.util.spec_from_file_location("refresh", ROOT / "docs" / "refresh.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_page_is_what_help_says(refresh: ModuleType) -> None:
    assert refresh.CLI_PAGE.read_text(encoding="utf-8") == refresh.cli_page(), "run: make docs"


def test_the_table_of_limits_is_what_help_says(refresh: ModuleType) -> None:
    text = (ROOT / "docs" / "guides" / "gateway.md").read_text(encoding="utf-8")
    assert "| `--body-limit` |" in text
    assert refresh.limits(text) == text, "run: make docs"


def test_quoting_replaces_only_what_is_between_the_marks(refresh: ModuleType) -> None:
    command = f"{shlex.quote(sys.executable)} -c 'print(6 * 7)'"
    page = f"before\n<!-- run: {command} -->\nold\n<!-- end -->\nafter\n"
    quoted = refresh.quote(page)
    assert (
        quoted == f"before\n<!-- run: {command} -->\n```console\n$ {command}\n42\n```\n<!-- end -->\nafter\n"
    )
    assert refresh.quote(quoted) == quoted


def test_a_quoted_command_that_fails_stops_the_refresh(refresh: ModuleType) -> None:
    with pytest.raises(SystemExit, match="exit 3"):
        refresh.quote("<!-- run: exit 3 -->\n<!-- end -->\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    missing += [
        path
        for path in CODE_PATH.findall(text)
        if not any((base / path).exists() for base in (ROOT, ROOT / "src" / "dougong"))
    ]
    assert not missing, f"{page.name} names what is not there: {missing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_on_pages_parse(page: Path) -> None:
    for line in COMMAND.findall(page.read_text(encoding="utf-8")):
        words = shlex.split(line.partition(" | ")[0], comments=True)[1:]
        if words and words[0] in dougong.list_commands(click.Context(dougong)):
            parse(words)


def parse(words: list[str]) -> None:
    command: click.Command = dougong
    context = click.Context(dougong, info_name="dougong")
    while isinstance(command, click.Group) and words:
        name, command_, words = command.resolve_command(context, words)
        assert command_ is not None
        command, context = command_, click.Context(command_, info_name=name, parent=context)
    if words:
        command.make_context(command.name, list(words), parent=context.parent, resilient_parsing=False)


def test_every_room_has_a_row_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| \d+ \| `([\w.]+)`", text, re.MULTILINE))
    package = ROOT / "src" / "dougong"
    rooms = {path.name for path in package.iterdir() if (path / "__init__.py").exists()}
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert rows == rooms | modules


def test_every_make_target_named_on_a_page_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make (\w+)`", page.read_text(encoding="utf-8"))}
    assert named <= targets


def test_the_drawn_tree_of_errors_is_the_real_one() -> None:
    drawn = re.findall(r"[├└]── (\w+)|^    (DougongError)", errors.__doc__ or "", re.MULTILINE)
    named = {name or root for name, root in drawn}
    real = {
        name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert named == real
    for name, code in re.findall(r"(\w+)\s+exit (\d+)", errors.__doc__ or ""):
        assert getattr(errors, name).exit_code == int(code)
