"""``dougong plan``: rank the ways to serve a model on a system."""

from __future__ import annotations

from typing import Any

import click

from dougong.cli.lazy import Option, SectionedCommand
from dougong.cli.output import counted, print_json, told_in, write_picture
from dougong.cli.question import build_request, model_argument, question_options, system_option


@click.command("plan", cls=SectionedCommand, short_help="Rank the ways to serve a model on a system.")
@model_argument
@system_option
@question_options()
@click.option(
    "--explain", cls=Option, section="Output", is_flag=True, help="Print every operator with its formula."
)
def plan(model: str, systems: tuple[str, ...], explain: bool, **words: Any) -> int:
    """Rank the ways to serve MODEL on a system: layouts with throughput, latency, memory, cost and energy.

    MODEL is an id of the catalog or a path of a config.json. Several systems compete with each other. A no
    comes with its reasons and what would help, and exit code 1.
    """
    request, catalog, launchers = build_request(model, systems, words)
    from dougong.plan import make_plan
    from dougong.plan.types import Plan

    answer = make_plan(request, catalog, launchers)
    if words["plot"] and isinstance(answer, Plan):
        from dougong.report.pictures import plan_picture

        write_picture(words["plot"], lambda path: plan_picture(answer, path))
    elif words["plot"]:
        click.echo("nothing is drawn: there is no plan", err=True)
    if words["json"]:
        from dougong.report.dump import dump_answer

        print_json(dump_answer(answer))
    else:
        from dougong.report.plan import draw_answer
        from dougong.report.terminal import show

        show(draw_answer(answer, explain=explain))
    told_in(answer.elapsed_s, counted(answer.candidates, "candidate"))
    return 0 if isinstance(answer, Plan) else 1
