"""What ``dougong serve`` does with its words: finds the model and the engine, launches, opens the gateway, drains."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from dougong.cli.waiting import Waiting
from dougong.cli.words import Faults
from dougong.engines.fleet import Fleet, Launch
from dougong.engines.places import state_dir
from dougong.engines.port import LaunchRequest, Model, Parallel
from dougong.engines.prepare import Group, launches
from dougong.engines.supervise import Event

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
        )
    }
    for flag, value in counts.items():
        if value == 0 and flag != "draft_tokens":
            faults.add(f"--{flag.replace('_', '-')}", "0 is too few")
    port = faults.count("--port", words["port"])
    if port is not None and port > 65535:
        faults.add("--port", f"{port} is beyond 65535")
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
    )


def show_commands(question: Question) -> int:
    """Print the command of every group of replicas, and launch nothing."""
    voice = Voice(question.words["json"] if "json" in question.words else question.words["as_json"])
    groups = _groups(question, voice, shown=True)
    shown: list[dict[str, object]] = []
    for group, launch in launches(groups, shown=True):
        command = launch.command
        shown.append(
            {
                "name": launch.name,
                "engine": group.engine.name,
                "role": group.request.role,
                "replicas": group.replicas,
                "devices": group.request.parallel.devices,
                "layout": str(group.request.parallel),
                "argv": list(command.argv),
                "env": {key: value for key, value in command.env.items() if key not in command.secrets},
                "notes": list(command.notes),
            }
        )
        if not voice.as_json:
            _show(group, launch)
    if voice.as_json:
        click.echo(
            json.dumps({"schema": SCHEMA, "kind": "launch", "launches": shown}, indent=2, ensure_ascii=False)
        )
    return 0


def _show(group: Group, launch: Launch) -> None:
    request = group.request
    role = "" if request.role == "both" else f" {request.role}"
    count = f"{group.replicas:,} ×" if group.replicas > 1 else "1 ×"
    click.echo(
        f"# {count}{role} {group.engine.name}, {request.parallel}, {request.parallel.devices} device(s) each"
    )
    for note in launch.command.notes:
        click.echo(f"# {note}")
    click.echo(launch.command.shown() or f"# {launch.command.base_url}")


def _groups(question: Question, voice: Voice, *, shown: bool) -> list[Group]:
    from dougong.engines.registry import choose_engine, engine_called, load_engines

    words, counts = question.words, question.counts
    engines, failed = load_engines()
    for name, fault in failed.items():
        voice.event("plugin-failed", f"engine {name} is left out: {fault.message}", name=name)
    model = _model(question, voice)
    platforms = (question.platform,) if question.platform else _platforms_here()
    if words["engine"]:
        engine = engine_called(words["engine"], engines, failed)
        platform = question.platform or next(
            (one for one in platforms if one in engine.platforms), platforms[0]
        )
        voice.event("engine", f"engine: {engine.name}, as asked", engine=engine.name, platform=platform)
        presence = engine.presence()
        if not presence.here and not shown:
            from dougong.errors import EnvironmentLacking

            raise EnvironmentLacking(
                f"engine {engine.name} is not here: it lacks {', '.join(presence.lacking)}",
                hint=presence.remedy,
            )
    else:
        choice, platform = choose_engine(model.format, platforms, engines, must_be_here=not shown)
        engine = choice.engine
        version = f" {choice.presence.version}" if choice.presence.version else ""
        passed = "".join(f"; {name} is passed over ({why})" for name, why in choice.passed_over)
        voice.event(
            "engine",
            f"engine: {engine.name}{version}; {choice.why}{passed}",
            engine=engine.name,
            platform=platform,
        )
    request = LaunchRequest(
        model=model,
        served_name=words["name"] or model.name,
        platform=platform,
        devices=question.devices,
        parallel=question.parallel or Parallel(),
        context_tokens=counts["context"],
        max_sequences=counts["sequences"],
        chunk_tokens=counts["chunk"],
        draft_tokens=counts["draft_tokens"] or 0,
        threads=counts["threads"],
        dtype=words["dtype"],
        quantization=words["quantization"],
        kv_dtype=words["kv_dtype"],
        embeddings=words["embeddings"],
        extra=question.extra,
    )
    return [Group(engine=engine, request=request, replicas=counts["copies"] or 1)]


def _model(question: Question, voice: Voice) -> Model:
    from dougong.engines.models import DEFAULT, resolve

    word = question.model or DEFAULT
    with Waiting(voice.as_json) as waiting:
        model = resolve(word, progress=waiting.bytes, refresh=question.words["refresh"])
    hashed = (
        f"sha256 {model.sha256[:12]}…" if model.sha256 else "sha256 unknown: too long to read before serving"
    )
    default = " (the default; name another one to serve that)" if question.model is None else ""
    voice.event(
        "model",
        f"model: {model.name} from {model.source}, {hashed}{default}",
        model=model.name,
        source=model.source,
        sha256=model.sha256,
    )
    return model


def _platforms_here() -> tuple[str, ...]:
    return ("cpu",)


def serve(question: Question) -> int:
    """Launch, wait, open the gateway, and end it all in order."""
    from dougong.engines.process import check_port
    from dougong.gateway import Settings, check_bind

    words = question.words
    voice = Voice(words["as_json"])
    key = os.environ.get("DOUGONG_API_KEY", "")
    records = None if words["no_records"] else Path(words["records"] or state_dir() / "records.sqlite")
    settings = Settings(
        keys_file=Path(words["keys"]) if words["keys"] else None, keys=(key,) if key else (), records=records
    )
    check_bind(question.host, settings, allow_open=words["allow_open"])
    check_port(question.host, question.port)
    if records is not None:
        records.parent.mkdir(parents=True, exist_ok=True)
    with _ended_in_order():
        if words["replicas"]:
            replicas = [_endpoint(url) for url in words["replicas"]]
            return _open(question, settings, replicas, None, voice)
        made = launches(_groups(question, voice, shown=False))
        for _, launch in made:
            for note in launch.command.notes:
                voice.event("note", f"note: {note}")
        stop = _Stop()
        with Fleet([launch for _, launch in made], on_event=_events(voice, stop)) as fleet:
            stop.fleet = fleet
            with Waiting(voice.as_json) as waiting:
                fleet.wait_ready(waiting.engine)
            replicas = [_replica(group, launch) for group, launch in made]
            code = _open(question, settings, replicas, stop, voice)
            failure = fleet.failure()
            if failure is not None:
                raise failure
            return code


class _Stop:
    """Ends the gateway when every engine has been given up."""

    def __init__(self) -> None:
        self.fleet: Fleet | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.event: asyncio.Event | None = None

    def look(self) -> None:
        if (
            self.fleet is not None
            and self.loop is not None
            and self.event is not None
            and self.fleet.failure()
        ):
            self.loop.call_soon_threadsafe(self.event.set)


def _events(voice: Voice, stop: _Stop) -> Any:
    def tell(name: str, event: Event) -> None:
        voice.event("engine-state", event.message, replica=name, state=event.state, at_s=round(event.at_s, 3))
        if event.state == "failed":
            stop.look()

    return tell


def _endpoint(url: str) -> Any:
    from dougong.gateway import Replica

    return Replica(url=url, key=os.environ.get("DOUGONG_REPLICA_KEY") or None)


def _replica(group: Group, launch: Launch) -> Any:
    from dougong.gateway import Replica

    request = group.request
    return Replica(
        url=launch.command.base_url,
        name=launch.name,
        models=(request.served_name,),
        key=launch.command.api_key,
        chip=group.chip,
        parallel=request.max_sequences or 1,
        ttft_s=group.ttft_s,
        tpot_s=group.tpot_s,
        health_path=launch.command.health_path,
    )


def _open(question: Question, settings: Any, replicas: list[Any], stop: _Stop | None, voice: Voice) -> int:
    """Serve until told to stop; the second time it is told, at once."""
    from dougong.gateway import build_app, loop_factory, serve_app

    async def run() -> None:
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        if stop is not None:
            stop.loop, stop.event = loop, told
            stop.look()

        def end() -> None:
            if told.is_set():
                os._exit(130)  # the guards end the engines
            voice.event("draining", "running answers are let end; Ctrl-C again ends them")
            told.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end)
        app = build_app(settings, replicas)

        def ready(url: str) -> None:
            _ready(question, url, replicas, settings.guarded, voice)

        await serve_app(app, host=question.host, port=question.port, stop=told, on_ready=ready)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run())
    voice.event("stopped", "the gateway has ended")
    return 0


def _ready(question: Question, url: str, replicas: list[Any], guarded: bool, voice: Voice) -> None:
    model = next((name for replica in replicas for name in replica.models), None)
    voice.event("serving", f"serving at {url}/v1", url=f"{url}/v1", model=model, replicas=len(replicas))
    if voice.as_json:
        return
    click.echo(f"{url}/v1")
    if model is not None:
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
        key = " -H 'Authorization: Bearer KEY'" if guarded else ""
        click.echo(
            f"curl {url}/v1/chat/completions{key} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
        )
    sys.stdout.flush()


@contextmanager
def _ended_in_order() -> Generator[None]:
    """Make SIGTERM end the waiting as Ctrl-C does, so that what was launched is ended in order."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
