"""The battery that every engine adapter passes, ours and strangers': ``check_engine(YourEngine())``."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from dougong.engines.platforms import PLATFORMS
from dougong.engines.port import (
    FORMATS,
    Capabilities,
    Engine,
    LaunchCommand,
    LaunchRequest,
    Model,
    Presence,
)
from dougong.errors import InputError

PRESENCE_S = 2.0
"""Longest time to say whether an engine is here."""

_KEY = "dg-secret-of-this-launch"
_PORT = 18765
_ODD = "models/a b;$(c)'d"
"""A path that a shell would make something of; an argument list does not."""


def check_engine(engine: object) -> None:
    """Check an adapter against all that the port promises; nothing is launched.

    Raises
    ------
    AssertionError
        Everything that it does not keep, one line each.

    Examples
    --------
    >>> from dougong.engines.openai import OpenAi
    >>> check_engine(OpenAi())
    """
    faults = list(_faults(engine))
    if faults:
        raise AssertionError("\n".join([f"{engine!r} breaks {len(faults)} promises:", *faults]))


def request_for(
    engine: Engine, model_format: str | None = None, platform: str | None = None
) -> LaunchRequest:
    """Return a plain request that an adapter has to take."""
    chosen = model_format or engine.formats[0]
    location = "http://127.0.0.1:9/v1" if chosen == "endpoint" else f"models/tiny.{chosen}"
    return LaunchRequest(
        model=Model(location=location, format=chosen, name="tiny"),
        served_name="tiny-served",
        port=_PORT,
        platform=platform or engine.platforms[0],
        context_tokens=2048,
        max_sequences=4,
        api_key=_KEY,
    )


def _faults(engine: object) -> Iterator[str]:
    if not isinstance(engine, Engine):
        lacking = [
            name
            for name in ("name", "formats", "platforms", "capabilities", "presence", "command")
            if not hasattr(engine, name)
        ]
        yield f"it lacks {', '.join(lacking)}"
        return
    yield from _words(engine)
    yield from _presence(engine)
    if not all(one in FORMATS for one in engine.formats) or not all(
        one in PLATFORMS for one in engine.platforms
    ):
        return
    for model_format in engine.formats:
        for platform in engine.platforms:
            yield from _command(engine, request_for(engine, model_format, platform))
    yield from _refusals(engine)


def _is(found: object, kind: type) -> bool:
    return isinstance(found, kind)  # a stranger's types are what they are, not what they say


def _words(engine: Engine) -> Iterator[str]:
    if not re.fullmatch(r"[a-z][a-z0-9-]*", engine.name):
        yield f"name {engine.name!r} is not of small letters, digits and dashes"
    if not engine.formats or not set(engine.formats) <= set(FORMATS):
        yield f"formats {engine.formats!r} are not some of {FORMATS}"
    if not engine.platforms or not set(engine.platforms) <= set(PLATFORMS):
        yield f"platforms {engine.platforms!r} are not some of {tuple(PLATFORMS)}"
    if not _is(engine.capabilities, Capabilities):
        yield "capabilities are no Capabilities"


def _presence(engine: Engine) -> Iterator[str]:
    before, began_s = set(sys.modules), time.monotonic()
    presence = engine.presence()
    took_s = time.monotonic() - began_s
    own = type(engine).__module__.partition(".")[0]
    plain = {*sys.stdlib_module_names, "dougong", own}
    new = sorted({name.partition(".")[0] for name in set(sys.modules) - before} - plain)
    if not _is(presence, Presence):
        yield "presence() returns no Presence"
        return
    if took_s > PRESENCE_S:
        yield f"presence() took {took_s:.1f} s; {PRESENCE_S:g} s are granted"
    if new:
        yield f"presence() imports {', '.join(new)}; packages are looked for, not imported"
    if not presence.here and not (presence.lacking and presence.remedy):
        yield "presence() says no, and not what is lacking and how to get it"


def _command(engine: Engine, request: LaunchRequest) -> Iterator[str]:
    about = f"{request.model.format} on {request.platform}: "
    try:
        command = engine.command(request)
    except InputError as error:
        yield f"{about}a plain request is refused: {error.message}"
        return
    if not _is(command, LaunchCommand):
        yield f"{about}command() returns no LaunchCommand"
        return
    yield from (about + fault for fault in _of_command(engine, request, command))


def _of_command(engine: Engine, request: LaunchRequest, command: LaunchCommand) -> Iterator[str]:
    if not command.health_path.startswith("/"):
        yield f"health path {command.health_path!r} does not begin with a slash"
    if command.api_key not in (None, request.api_key):
        yield "the key is another one than the launch's"
    if command != engine.command(request):
        yield "the same request gives another command the second time"
    if not command.argv:  # nothing is launched
        return
    told = (*command.argv, *command.env.values())
    if command.base_url != f"http://{request.host}:{request.port}":
        yield f"it would answer at {command.base_url}, not where it was asked to"
    for what, word in (("port", str(request.port)), ("host", request.host), ("name", request.served_name)):
        if word not in told:
            yield f"the {what} {word} is not told to the engine"
    if _KEY in command.shown():
        yield "shown() shows the secret"
    if _KEY in command.argv and _KEY not in command.secrets:
        yield "the secret stands in argv and is not named in secrets"
    if "--trust-remote-code" in command.argv:
        yield "it lets a model's own code run"
    odd = replace(request, model=replace(request.model, location=_ODD))
    if not any(_ODD in word for word in engine.command(odd).argv):
        yield "an odd path does not reach the engine as it is"


def _refusals(engine: Engine) -> Iterator[str]:
    plain = request_for(engine)
    other_format = next((one for one in FORMATS if one not in engine.formats), None)
    other_platform = next((one for one in PLATFORMS if one not in engine.platforms), None)
    wrong: dict[str, LaunchRequest] = {
        "a role that is none": replace(plain, role="neither"),
        "a context of no tokens": replace(plain, context_tokens=0),
        "a share of memory over 1": replace(plain, memory_frac=1.5),
    }
    if other_format is not None:
        wrong[f"a model that is {other_format}"] = replace(
            plain, model=replace(plain.model, format=other_format)
        )
    if other_platform is not None:
        wrong[f"platform {other_platform}"] = replace(plain, platform=other_platform)
    for what, request in wrong.items():
        if (fault := _not_refused(engine.command, request)) is not None:
            yield f"{what} is {fault}"
    both = replace(plain, context_tokens=0, memory_frac=1.5)
    try:
        engine.command(both)
    except InputError as error:
        if "context_tokens" not in error.message or "memory_frac" not in error.message:
            yield "of two faults in a request only one is told"


def _not_refused(command: Callable[[LaunchRequest], object], request: LaunchRequest) -> str | None:
    try:
        command(request)
    except InputError:
        return None
    except Exception as error:
        return f"refused with {type(error).__name__}, which is no InputError"
    return "not refused"
