"""From the words of ``dougong serve`` to groups of replicas: the model, the engine for it, or a plan's pools."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import click

from dougong.cli.completion import open_catalog
from dougong.cli.serve_words import SCHEMA, Question, Voice
from dougong.cli.waiting import Waiting
from dougong.engines.fleet import Launch
from dougong.engines.from_plan import read_plan, repository
from dougong.engines.models import DEFAULT, resolve
from dougong.engines.models.resolve import read_source
from dougong.engines.port import Engine, LaunchRequest, Model, Parallel
from dougong.engines.prepare import Group, launches
from dougong.engines.registry import choose_engine, engine_called, load_engines
from dougong.errors import DougongError, EnvironmentLacking, InputError, UnknownId

T = TypeVar("T")


def show_commands(question: Question) -> int:
    """Print the command of every group of replicas, and launch nothing."""
    voice = Voice(question.words["as_json"])
    groups = read_groups(question, voice, shown=True)
    shown: list[dict[str, object]] = []
    for group, launch in told_with_options(question, lambda: launches(groups, shown=True)):
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
    if not voice.as_json and any(group.request.role != "both" for group in groups):
        click.echo("# a router stands between them: --script FILE writes it, with what runs on each node")
    if voice.as_json:
        click.echo(
            json.dumps({"schema": SCHEMA, "kind": "launch", "launches": shown}, indent=2, ensure_ascii=False)
        )
    return 0


def write_commands(question: Question) -> int:
    """Write a plan as a script for its nodes, and launch nothing."""
    from dougong.engines.placement import place
    from dougong.engines.script import KEY_WORD, write_script

    voice = Voice(question.words["as_json"])
    groups = read_groups(question, voice, shown=True)
    placed = told_with_options(question, lambda: place(groups, key=KEY_WORD))
    pools = ", ".join(f"{group.replicas:,} × {_pool(group)}" for group in groups)
    nodes = max(one.node for one in placed) + 1
    text = write_script(placed, f"{groups[0].request.model.source or groups[0].request.model.name}: {pools}")
    file = question.words["script"]
    if file == "-":
        click.echo(text, nl=False)
        return 0
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise EnvironmentLacking(f"--script: {file}: {error.strerror}") from error
    voice.event("script", f"written: {file}, for {nodes} node(s)", file=file, nodes=nodes)
    return 0


def told_with_options(question: Question, action: Callable[[], T]) -> T:
    """Return what ``action`` returns; where the engine cannot do a plan, say which of its options it can."""
    try:
        return action()
    except InputError as error:
        if not question.words["plan_file"]:
            raise
        able = [str(number) for number in range(1, _options(question) + 1) if _able(question, number)]
        none = (
            "none of its options can be launched; plan --launchable ENGINE leaves out what an engine refuses"
        )
        hint = f"--option {' or '.join(able)} can be launched" if able else none
        raise InputError(error.message, hint=hint) from error


def _options(question: Question) -> int:
    return len(json.loads(Path(question.words["plan_file"]).read_bytes())["options"])


def _able(question: Question, number: int) -> bool:
    class Silent(Voice):
        def event(self, event: str, message: str, **fields: object) -> None:
            """Tell nothing."""

    other = replace(question, counts={**question.counts, "option": number})
    try:
        launches(read_groups(other, Silent(True), shown=True), shown=True)
    except DougongError:
        return False
    return True


def _pool(group: Group) -> str:
    role = "" if group.request.role == "both" else f"{group.request.role} "
    return f"{role}{group.engine.name} {group.request.parallel}"


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


def read_groups(question: Question, voice: Voice, *, shown: bool) -> list[Group]:
    """Return what is to be launched.

    Parameters
    ----------
    shown
        For commands that are only shown: nothing is fetched for a plan, and no engine has to be here.
    """
    engines, failed = load_engines()
    for name, fault in failed.items():
        voice.event("plugin-failed", f"engine {name} is left out: {fault.message}", name=name)

    def engine_for(model_format: str, platforms: tuple[str, ...]) -> tuple[Engine, str]:
        asked = question.words["engine"]
        if not asked:
            choice, platform = choose_engine(model_format, platforms, engines, must_be_here=not shown)
            version = f" {choice.presence.version}" if choice.presence.version else ""
            passed = "".join(f"; {name} is passed over ({why})" for name, why in choice.passed_over)
            message = f"engine: {choice.engine.name}{version}; {choice.why}{passed}"
            voice.event("engine", message, engine=choice.engine.name, platform=platform)
            return choice.engine, platform
        engine = engine_called(asked, engines, failed)
        presence = engine.presence()
        if not presence.here and not shown:
            lacking = ", ".join(presence.lacking)
            raise EnvironmentLacking(f"engine {asked} is not here: it lacks {lacking}", hint=presence.remedy)
        platform = next((one for one in platforms if one in engine.platforms), platforms[0])
        voice.event("engine", f"engine: {asked}, as asked", engine=asked, platform=platform)
        return engine, platform

    if question.words["plan_file"]:
        return _planned(question, voice, engine_for, shown=shown)
    model = _model(question.model or DEFAULT, question, voice)
    platforms = (question.platform,) if question.platform else platforms_here()
    engine, platform = engine_for(model.format, platforms)
    request = LaunchRequest(
        model=model,
        served_name=question.words["name"] or model.name,
        platform=platform,
        devices=question.devices,
        parallel=question.parallel or Parallel(),
    )
    return [Group(engine=engine, request=_told(request, question), replicas=question.counts["copies"] or 1)]


def _planned(
    question: Question,
    voice: Voice,
    engine_for: Callable[[str, tuple[str, ...]], tuple[Engine, str]],
    *,
    shown: bool,
) -> list[Group]:
    catalog = open_catalog(())
    path, option = Path(question.words["plan_file"]), question.counts["option"] or 1
    planned = read_plan(path, catalog, option=option)
    for note in planned.notes:
        voice.event("note", f"note: {note}")
    groups: list[Group] = []
    for pool in planned.pools:
        engine, platform = engine_for(
            pool.request.model.format, (question.platform or pool.request.platform,)
        )
        request = replace(pool.request, platform=platform, devices=question.devices)
        if question.words["name"]:
            request = replace(request, served_name=question.words["name"])
        replicas = question.counts["copies"] or pool.replicas
        groups.append(
            Group(
                engine=engine,
                request=_told(request, question),
                replicas=replicas,
                ttft_s=pool.ttft_s,
                tpot_s=pool.tpot_s,
                chip=pool.chip,
            )
        )
    if not shown:
        _check_one_machine(groups, planned.system)
    return groups


def _check_one_machine(groups: list[Group], system: str) -> None:
    roles = sorted({group.request.role for group in groups})
    if roles != ["both"]:
        raise EnvironmentLacking(
            f"this plan splits {' and '.join(roles)}, and the engine's own router must stand between them",
            hint="write a script for the nodes with --script FILE, or take a plan made with --mode colocated",
        )
    wanted = sum(group.replicas * group.request.parallel.devices for group in groups)
    devices = count_devices(groups[0].request.platform)
    if devices is not None and wanted > devices:
        raise EnvironmentLacking(
            f"this plan wants {wanted:,} devices of {system}, and {devices} are here",
            hint="serve fewer replicas (--copies N), or write a script for the nodes with --script FILE",
        )


def _told(request: LaunchRequest, question: Question) -> LaunchRequest:
    """Return the request with what the user says over it."""
    words, counts = question.words, question.counts
    told = {
        "parallel": question.parallel,
        "context_tokens": counts["context"],
        "max_sequences": counts["sequences"],
        "chunk_tokens": counts["chunk"],
        "draft_tokens": counts["draft_tokens"],
        "threads": counts["threads"],
        "dtype": words["dtype"],
        "quantization": words["quantization"],
        "kv_dtype": words["kv_dtype"],
        "embeddings": words["embeddings"] or None,
        "extra": question.extra or None,
    }
    return replace(request, **{name: value for name, value in told.items() if value is not None})


def _model(word: str, question: Question, voice: Voice) -> Model:
    with Waiting(voice.as_json) as waiting:
        model = resolve(repository_word(word), progress=waiting.bytes, refresh=question.words["refresh"])
    hashed = (
        f"sha256 {model.sha256[:12]}…" if model.sha256 else "sha256 unknown: too long to read before serving"
    )
    default = "" if question.model else " (the default; name another one to serve that)"
    message = f"model: {model.name} from {model.source}, {hashed}{default}"
    voice.event("model", message, model=model.name, source=model.source, sha256=model.sha256)
    return model


def repository_word(word: str) -> str:
    """Return the source of a model: the word itself, or the repository of a catalog's id."""
    try:
        read_source(word)
    except InputError as no_source:
        catalog = open_catalog(())
        try:
            found = repository(word, catalog)
        except UnknownId as unknown:
            raise InputError(no_source.message, hint=f"{no_source.hint}; {unknown.hint}") from None
        if found is None:
            raise InputError(
                f"the catalog's record of {word} names no repository", hint=no_source.hint
            ) from None
        return f"hf:{found}"
    return word


def platforms_here() -> tuple[str, ...]:
    """Return the platforms of this machine, accelerators first."""
    from dougong.engines.devices.tools import ask_all

    # Tools alone: they answer at once where there are none, and torch takes seconds to say no.
    return tuple(
        dict.fromkeys([*(tool.platform for tool, told in ask_all() if told and told.devices), "cpu"])
    )


def count_devices(platform: str) -> int | None:
    """Return how many devices of a platform are here; None where no tool tells."""
    from dougong.engines.devices.tools import ask_all

    counts = [len(told.devices) for tool, told in ask_all() if told is not None and tool.platform == platform]
    return counts[0] if counts else None
