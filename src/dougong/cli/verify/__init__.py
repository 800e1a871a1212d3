"""``dougong verify``: whether a chip and its software compute the right thing."""

from __future__ import annotations

import click

from dougong.cli.lazy import LazyGroup

COMMANDS = {
    "ops": ("dougong.cli.verify.ops:ops", "Run the operator suite on a backend."),
    "list": ("dougong.cli.verify.listing:list_", "List backends, families, cases, mutants or switches."),
    "report": ("dougong.cli.verify.report:report", "Show runs side by side: text, JSON, JUnit or a page."),
    "mutants": ("dougong.cli.verify.mutants:mutants", "Prove the suite on deliberately wrong backends."),
    "cases": ("dougong.cli.verify.cases:cases", "Write cases as ONNX files for any stack."),
    "keygen": ("dougong.cli.verify.certify:keygen", "Make a key to sign certificates with."),
    "certify": ("dougong.cli.verify.certify:certify", "Sign what a finished run came to."),
    "check": ("dougong.cli.verify.certify:check", "Check certificates, offline."),
}


@click.group(
    "verify",
    cls=LazyGroup,
    commands_at=COMMANDS,
    short_help="Prove that a chip and its software compute right.",
)
def verify() -> None:
    """Prove that a chip and its software compute the right thing, and sign it."""
