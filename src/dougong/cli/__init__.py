"""Turns words into a request and a result into words; no arithmetic. Start at :func:`main`.

click is the only third party imported here; a report, and rich with it, is imported when there is one.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; the codes are those of :mod:`dougong.errors`."""
    from dougong.cli.entry import run

    return run(arguments)
