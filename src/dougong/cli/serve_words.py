"""Reads the words of ``dougong serve``, and tells what happens while it serves."""

from __future__ import annotations

import json
import shlex
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from dougong.cli.serve_limits import LIMITS, read_limits
from dougong.cli.words import Faults
from dougong.engines.port import Parallel

SCHEMA = 1
PORT = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The words of ``dougong serve``, read."""

    model: str | None
    words: Mapping[str, Any]
    host: str
    port: int
    counts: Mapping[str, int | None]
    parallel: Parallel | None
    devices: tuple[int, ...]
    platform: str | None
    extra: tuple[str, ...]
    settings: Mapping[str, Any]
    watch: Mapping[str, Any]


class Voice:
    """Tells what happens: lines of JSON on stdout, or words on stderr."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._lock = threading.Lock()

    def event(self, event: str, message: str, **fields: object) -> None:
        """Tell one thing."""
        with self._lock:
            if self.as_json:
                line = {"schema": SCHEMA, "event": event, "message": message, **fields}
                click.echo(json.dumps(line, ensure_ascii=False))
                sys.stdout.flush()
            else:
                click.echo(message, err=True)


def read_question(model: str | None, words: Mapping[str, Any]) -> Question:
    """Read the words; all faults of them are told at once."""
    from dougong.engines.platforms import read_device

    faults = Faults()
    counts = {
        flag: faults.count(f"--{flag.replace('_', '-')}", words[flag])
        for flag in (
            "tp",
            "pp",
            "dp",
            "ep",
            "cp",
            "context",
            "sequences",
            "chunk",
            "draft_tokens",
            "threads",
            "copies",
            "option",
            "concurrent",
        )
    }
    for flag, value in counts.items():
        if value == 0 and flag != "draft_tokens":
            faults.add(f"--{flag.replace('_', '-')}", "0 is too few")
    port = faults.count("--port", words["port"])
    if port is not None and port > 65535:
        faults.add("--port", f"{port} is beyond 65535")
    settings, watch = read_limits(words, faults)
    if watch and words["replicas"]:
        launched = [
            one.flag for one in LIMITS if one.watch and not one.settings and words[one.word] is not None
        ]
        for flag in launched:
            faults.add(flag, "it is for engines that are launched here, and an endpoint is not")
    platform, devices = None, ()
    if words["device"]:
        platform, devices = faults.keep("--device", lambda: read_device(words["device"])) or (None, ())
    extra: tuple[str, ...] = ()
    if words["engine_args"]:
        try:
            extra = tuple(shlex.split(words["engine_args"]))
        except ValueError as error:
            faults.add("--engine-args", str(error))
    if model and words["plan_file"]:
        faults.add("MODEL", "the plan names the model; leave one of them out")
    if (model or words["plan_file"] or words["engine"]) and words["replicas"]:
        faults.add("--replica", "endpoints run already; no model and no engine is launched beside them")
    if words["script"] and not words["plan_file"]:
        faults.add("--script", "it is written from a plan; give --plan")
    if words["option"] and not words["plan_file"]:
        faults.add("--option", "it chooses from a plan; give --plan")
    faults.raise_if_any()
    degrees = {
        "tp": counts["tp"],
        "pp": counts["pp"],
        "attn_dp": counts["dp"],
        "ep": counts["ep"],
        "cp": counts["cp"],
    }
    given = {name: degree for name, degree in degrees.items() if degree}
    return Question(
        model=model,
        words=words,
        host=words["host"] or "127.0.0.1",
        port=PORT if port is None else port,
        counts=counts,
        parallel=Parallel(**given) if given else None,
        devices=devices,
        platform=platform,
        extra=extra,
        settings=settings,
        watch=watch,
    )
