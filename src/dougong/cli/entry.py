"""The command tree, and the one table from exceptions to exit codes and words."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

import click

from dougong import __version__
from dougong.cli.lazy import LazyGroup
from dougong.errors import DougongError

EXIT_LACKING = 4
EXIT_BUG = 70
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells say it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE: the reader left, nobody is to be told

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}
"""Where an answer cannot go: the disk is full, or its stream is not there."""

COMMANDS = {
    "plan": ("dougong.cli.plan:plan", "Rank the ways to serve a model on a system."),
    "compare": ("dougong.cli.compare:compare", "Plan a model on several systems, side by side."),
    "fit": ("dougong.cli.fit:fit", "Show which models fit which systems."),
    "serve": ("dougong.cli.serve:serve", "Run a model behind an OpenAI-compatible endpoint."),
    "engines": (
        "dougong.cli.engines:engines",
        "Show which engines are known, and which can be started here.",
    ),
    "devices": ("dougong.cli.devices:devices", "Show which chips, drivers and stacks are here."),
    "models": ("dougong.cli.models:models", "Fetch, list and remove models in the cache."),
    "probe": ("dougong.cli.probe:probe", "Measure this machine, so that it can be planned for."),
    "measure": ("dougong.cli.measure:measure", "Load a live endpoint and say what it does."),
    "calibrate": ("dougong.cli.calibrate:calibrate", "Let measured runs correct a calibration."),
    "backtest": ("dougong.cli.backtest:backtest", "Hold predictions against published measurements."),
    "explain-error": (
        "dougong.cli.explain_error:explain_error",
        "Take the prediction of one published case apart.",
    ),
    "verify": ("dougong.cli.verify:verify", "Prove that a chip and its software compute right."),
    "catalog": ("dougong.cli.catalog:catalog", "List, show and compare the records behind the numbers."),
    "records": ("dougong.cli.records:records", "Read the usage and the requests that a gateway wrote down."),
    "keys": ("dougong.cli.keys:keys", "Make, list and remove API keys of a gateway."),
    "completion": ("dougong.cli.completion:completion", "Print a completion script for your shell."),
}

_EPILOG = (
    "Exit codes: 0 yes, 1 a reasoned no, 2 wrong words or files, 4 something lacking here, 5 an engine that fails, "
    "70 a bug of ours."
)


@click.group(
    "dougong",
    cls=LazyGroup,
    commands_at=COMMANDS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="dougong", message="%(prog)s %(version)s")
def dougong() -> None:
    """Plan the serving of open-weight models on the chips at hand, with every number sourced."""


# One question is a small array program without matrix products: threads cost more to start than they bring.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; every exception ends here as words on stderr and an exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if getattr(sys, "stdout", None) is None:  # closed before we came
        _say("there is no standard output to write the answer to", None)
        return EXIT_LACKING
    try:
        code = _invoke(words)
        sys.stdout.flush()
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.UsageError as fault:
        _say(fault.format_message(), _usage_hint(fault))
        return fault.exit_code
    except click.ClickException as fault:
        _say(fault.format_message(), None)
        return fault.exit_code
    except DougongError as fault:
        _say(fault.message, fault.hint)
        return fault.exit_code
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return EXIT_BROKEN_PIPE
    except Exception as bug:
        if isinstance(bug, OSError) and bug.errno in _UNWRITABLE:
            _drop_output()
            _say(f"the answer cannot be written: {bug.strerror}", None)
            return EXIT_LACKING
        _report_bug(bug)
        return EXIT_BUG
    return code


def _drop_output() -> None:
    # Python flushes stdout once more at exit; give it somewhere to go.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _invoke(words: list[str]) -> int:
    if "_DOUGONG_COMPLETE" in os.environ:
        dougong.main(args=words, prog_name="dougong", complete_var="_DOUGONG_COMPLETE")
    with dougong.make_context("dougong", words) as context:
        code: object = dougong.invoke(context)
    return code if isinstance(code, int) else 0


def _say(message: str, hint: str | None) -> None:
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"\nhint: {hint}", err=True)


def _usage_hint(fault: click.UsageError) -> str:
    path = fault.ctx.command_path if fault.ctx else "dougong"
    return f"{path} --help"


def _report_bug(bug: Exception) -> None:
    import traceback

    traceback.print_exception(bug)
    _say(
        f"this is a bug of dougong {__version__}, not of your words ({type(bug).__name__})",
        "please report it with the lines above and the command that led here",
    )
