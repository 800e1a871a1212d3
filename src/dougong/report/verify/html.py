"""The few pieces of HTML that a page is made of; every text is escaped on its way in."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence

_THREAD = re.compile(r"^[\w.-]+/[\w.-]+#\d+$")


def text(value: object) -> str:
    """Return a text, escaped."""
    return html.escape(str(value))


def chip(verdict: str) -> str:
    """Return a verdict in its colour."""
    return f'<span class="chip {text(verdict)}">{text(verdict)}</span>'


def bar(counts: Mapping[str, int]) -> str:
    """Return a bar of verdicts by share, and its legend."""
    total = sum(counts.values()) or 1
    parts = "".join(
        f'<i class="{text(name)}" style="width:{100 * count / total:.3f}%" title="{count:,} {text(name)}"></i>'
        for name, count in counts.items()
    )
    legend = "".join(
        f'<li><span class="dot {text(name)}"></span>{count:,} {text(name.lower())}</li>'
        for name, count in counts.items()
    )
    return f'<div class="bar">{parts}</div><ul class="legend">{legend}</ul>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Return a table of cells that are HTML already."""
    top = "".join(f"<th>{text(head)}</th>" for head in heads)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    inside = f"<thead><tr>{top}</tr></thead><tbody>{lines}</tbody>"
    return f'<div class="scroll"><table class="{kind}">{inside}</table></div>'


def section(title: str, says: str, *content: str, name: str = "") -> str:
    """Return a heading, what it is about, and its content."""
    place = f' id="{name}"' if name else ""
    return f"<section{place}><h2>{text(title)}</h2><p>{text(says)}</p>{''.join(content)}</section>"


def thread(name: str) -> str:
    """Return a link to a public thread; what is none stays text."""
    if not _THREAD.match(name):
        return text(name)
    place, _, number = name.partition("#")
    return f'<a href="https://github.com/{text(place)}/issues/{number}">{text(name)}</a>'


def link(address: str) -> str:
    """Return a link to a page; what is none stays text."""
    if address.startswith(("https://", "http://")):
        return f'<a href="{text(address)}">{text(address)}</a>'
    return thread(address)
