"""``dougong engines``: which engines are known, and which can be started here."""

from __future__ import annotations

import click

from dougong.cli.output import print_json


@click.command("engines", short_help="Show which engines are known, and which can be started here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def engines(as_json: bool) -> int:
    """Show which engines are known, which can be started here, and how to get the others.

    Engines of installed packages stand beside ours (entry points dougong.engines); one that does not load is
    listed with its fault.
    """
    from dougong.engines.registry import load_engines

    found, failed = load_engines()
    rows = [(engine, engine.presence()) for _, engine in sorted(found.items())]
    if as_json:
        listed = [
            {
                "name": engine.name,
                "here": presence.here,
                "version": presence.version,
                "lacking": list(presence.lacking),
                "remedy": presence.remedy,
                "formats": list(engine.formats),
                "platforms": list(engine.platforms),
            }
            for engine, presence in rows
        ]
        faults = [{"name": name, "fault": fault.message} for name, fault in failed.items()]
        print_json({"kind": "engines", "engines": listed, "failed": faults})
        return 0
    from dougong.report.parts import Columns
    from dougong.report.terminal import show

    columns = [
        ("engine", "word"),
        ("here", "word"),
        ("opens", "word"),
        ("runs on", "words"),
        ("how to get it", "words"),
    ]
    cells = [
        [
            engine.name,
            (presence.version or "yes") if presence.here else "no",
            ", ".join(engine.formats),
            "anything" if engine.formats == ("endpoint",) else ", ".join(engine.platforms),
            presence.remedy,
        ]
        for engine, presence in rows
    ]
    show(
        Columns(
            columns, [*cells, *([name, "failed", "", "", fault.message] for name, fault in failed.items())]
        )
    )
    return 0
