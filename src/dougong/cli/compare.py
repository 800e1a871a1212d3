"""``dougong compare``: the same question for several systems."""

from __future__ import annotations

from typing import Any

import click

from dougong.cli.lazy import SectionedCommand
from dougong.cli.output import counted, print_json, told_in, write_picture
from dougong.cli.question import build_request, model_argument, question_options, system_option


@click.command("compare", cls=SectionedCommand, short_help="Plan a model on several systems, side by side.")
@model_argument
@system_option
@question_options()
def compare(model: str, systems: tuple[str, ...], **words: Any) -> int:
    """Plan MODEL on several systems and set the winners side by side, each against the first system's.

    Exit code 1 says that no system can serve it as asked.
    """
    request, catalog, launchers = build_request(model, systems, words)
    from dougong.plan import compare as compare_systems
    from dougong.plan.types import Plan

    answers = compare_systems(request, catalog, launchers)
    if words["plot"]:
        from dougong.report.pictures import comparison_picture

        write_picture(words["plot"], lambda path: comparison_picture(answers, path))
    if words["json"]:
        from dougong.report.dump import dump_answer

        print_json({"kind": "comparison", "answers": [dump_answer(answer) for answer in answers]})
    else:
        from dougong.report.compare import draw_comparison
        from dougong.report.terminal import show

        show(draw_comparison(answers))
    seen = sum(answer.candidates for answer in answers)
    told_in(sum(answer.elapsed_s for answer in answers), counted(seen, "candidate"))
    return 0 if any(isinstance(answer, Plan) for answer in answers) else 1
