"""Write what is generated: the reference page, the suite's mutation score, and the outputs quoted in pages.

``python docs/refresh.py`` rewrites everything; ``--check`` only says whether the reference pages and the
table of limits are up to date. Quoted outputs stand between ``<!-- run: COMMAND -->`` and ``<!-- end -->``;
they are rewritten and never checked, because a planner that learns is expected to change its numbers.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from dougong.cli.entry import dougong
from dougong.cli.serve_limits import LIMITS
from dougong.verify.mutation import SHIPPED, read_score, score, trials, write_score

ROOT = Path(__file__).parent.parent
CLI_PAGE = ROOT / "docs" / "reference" / "cli.md"
QUOTING = ("README.md", "docs/guides/*.md")
COLUMNS = 110

_HEAD = """# Command line

Generated from `--help` by `make docs`; do not edit.

"""
_LIMITS = re.compile(r"(<!-- limits -->\n)(?:.*?)(<!-- end of limits -->)", re.DOTALL)
_RUN = re.compile(r"(<!-- run: (?P<command>[^\n]+) -->\n)(?:.*?)(<!-- end -->)", re.DOTALL)


def help_pages(command: click.Command, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Yield (path, help text) of a command and all below it."""
    name = command.name or ""
    context = click.Context(
        command, info_name=name, parent=parent, terminal_width=100, **command.context_settings
    )
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None, f"{child} is listed and cannot be found"
            yield from help_pages(found, context)


def cli_page() -> str:
    """Return the text of the reference page."""
    return _HEAD + "\n".join(f"## {path}\n\n```text\n{text}\n```\n" for path, text in help_pages(dougong))


def quoting() -> list[Path]:
    """Pages that quote what a command prints."""
    return [path for pattern in QUOTING for path in sorted(ROOT.glob(pattern))]


def limits(text: str) -> str:
    """Fill a page's table of the limits of ``dougong serve``."""
    rows = [
        f"| {limit.section} | `{limit.flag}` | {limit.help.removesuffix('.')} "
        f"| {', '.join(f'`{name}`' for name in (limit.settings, limit.watch) if name)} |"
        for limit in LIMITS
    ]
    table = "\n".join(
        ["| of | flag | what it limits [default] | field |", "| --- | --- | --- | --- |", *rows]
    )
    return _LIMITS.sub(lambda match: f"{match[1]}{table}\n{match[2]}", text)


def quote(text: str) -> str:
    """Run every quoted command of a page and put its output below it."""

    def run(match: re.Match[str]) -> str:
        command = match["command"]
        environment = {**os.environ, "COLUMNS": str(COLUMNS), "PYTHONUTF8": "1", "NO_COLOR": "1"}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(
            command, shell=True, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False
        )
        if done.returncode not in (0, 1):
            raise SystemExit(f"{command}: exit {done.returncode}\n{done.stderr}")
        lines = "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())
        return f"{match[1]}```console\n$ {command}\n{lines}\n```\n{match[3]}"

    return _RUN.sub(run, text)


def main(arguments: list[str]) -> int:
    """Refresh, or check with ``--check``."""
    page = cli_page()
    if "--check" in arguments:
        stale = [] if CLI_PAGE.exists() and CLI_PAGE.read_text(encoding="utf-8") == page else [CLI_PAGE]
        stale += [path for path in quoting() if limits(text := path.read_text(encoding="utf-8")) != text]
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what --help says; run: make docs", file=sys.stderr)
        scored = bool(read_score(SHIPPED))
        if not scored:
            print("the mutation score is of another suite; run: make docs", file=sys.stderr)
        return 1 if stale or not scored else 0
    if not read_score(SHIPPED):
        write_score(score(trials()), SHIPPED)
    CLI_PAGE.parent.mkdir(parents=True, exist_ok=True)
    CLI_PAGE.write_text(page, encoding="utf-8")
    for path in quoting():
        text = path.read_text(encoding="utf-8")
        if (fresh := quote(limits(text))) != text:
            path.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
