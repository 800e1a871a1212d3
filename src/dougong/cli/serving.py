"""What ``dougong serve`` does: launches, waits, opens the gateway in front, and ends it all in order."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from dougong.cli.launching import read_groups, told_with_options
from dougong.cli.serve_words import Question, Voice
from dougong.cli.waiting import Waiting
from dougong.engines.fleet import Fleet, Launch
from dougong.engines.prepare import Group, launches
from dougong.engines.supervise import Event, Watch
from dougong.places import state_dir


def serve(question: Question) -> int:
    """Launch, wait, open the gateway, and end it all in order."""
    from dougong.engines.process import check_port
    from dougong.gateway import Settings, check_bind

    words = question.words
    voice = Voice(words["as_json"])
    key = os.environ.get("DOUGONG_API_KEY", "")
    records = None if words["no_records"] else Path(words["records"] or state_dir() / "records.sqlite")
    settings = Settings(
        keys_file=Path(words["keys"]) if words["keys"] else None,
        keys=(key,) if key else (),
        records=records,
        log=Path(words["log"]) if words["log"] else None,
        **question.settings,
    )
    check_bind(question.host, settings, allow_open=words["allow_open"])
    check_port(question.host, question.port)
    if records is not None:
        records.parent.mkdir(parents=True, exist_ok=True)
    with _ended_in_order():
        if words["replicas"]:
            replicas = [_endpoint(question, url, voice) for url in words["replicas"]]
            return _open(question, settings, replicas, None, voice)
        groups = read_groups(question, voice, shown=False)
        made = told_with_options(question, lambda: launches(groups))
        for _, launch in made:
            for note in launch.command.notes:
                voice.event("note", f"note: {note}")
        stop = _Stop()
        watch = Watch(**question.watch)
        with Fleet([launch for _, launch in made], watch=watch, on_event=_events(voice, stop)) as fleet:
            stop.fleet = fleet
            with Waiting(voice.as_json) as waiting:
                fleet.wait_ready(waiting.engine)
            replicas = [_replica(question, group, launch) for group, launch in made]
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


def _at_a_time(question: Question) -> dict[str, Any]:
    most = question.counts["concurrent"]
    return {} if most is None else {"max_concurrent": most}


def _endpoint(question: Question, url: str, voice: Voice) -> Any:
    from dougong.engines.process import models_of
    from dougong.gateway import Replica

    key = os.environ.get("DOUGONG_REPLICA_KEY") or None
    replica = Replica(url=url, key=key, **_at_a_time(question))
    models = models_of(url, key)
    told = f"serves {', '.join(models)}" if models else "does not list its models now, and is asked again"
    voice.event("replica", f"{replica.name} {told}", replica=replica.name, models=list(models or ()))
    return replace(replica, models=models or ())


def _replica(question: Question, group: Group, launch: Launch) -> Any:
    from dougong.gateway import Replica

    request = group.request
    return Replica(
        **_at_a_time(question),
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
