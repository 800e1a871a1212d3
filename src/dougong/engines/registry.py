"""The adapters that are installed, ours and strangers', and which of them is to serve a model here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dougong.engines.platforms import PLATFORMS
from dougong.engines.port import GROUP, Engine, Presence
from dougong.errors import DougongError, EnvironmentLacking, InputError, PluginError, UnknownId
from dougong.plugins import load_all

ORDER = ("llamacpp", "vllm", "sglang", "transformers")
"""Which engine comes first where several would do: made for the format, then made for the load, then any."""

ORDER_ON_CPU = ("llamacpp", "transformers", "vllm", "sglang")
"""On a CPU the two large engines are guests: days of building for some, and minutes to start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The engine that is to serve, and why.

    Attributes
    ----------
    why
        In words, for the user.
    passed_over
        (name, reason) of each engine that was looked at before it, or that would do as well.
    """

    engine: Engine
    presence: Presence
    why: str
    passed_over: tuple[tuple[str, str], ...] = ()


def load_engines() -> tuple[dict[str, Engine], dict[str, PluginError]]:
    """Import every adapter; return those that load, and by name why the rest do not.

    An entry point may be an adapter or a class that makes one.
    """
    loaded, failed = load_all(GROUP)
    engines: dict[str, Engine] = {}
    for name, found in loaded.items():
        try:
            made: object = found() if isinstance(found, type) else found
        except Exception as error:  # a stranger's class may raise anything
            failed[name] = PluginError(f"{GROUP}: {name} cannot be made: {type(error).__name__}: {error}")
            continue
        if isinstance(made, Engine):
            engines[name] = made
        else:
            failed[name] = PluginError(f"{GROUP}: {name} is no engine adapter: {type(made).__name__}")
    return engines, failed


def engine_called(name: str, engines: Mapping[str, Engine], failed: Mapping[str, PluginError]) -> Engine:
    """Return the adapter called ``name``; raise why it does not load, or near names."""
    if name in engines:
        return engines[name]
    if name in failed:
        raise failed[name]
    raise UnknownId("engine", name, engines, hint=f"engines: {', '.join(engines)}")


def choose_engine(
    model_format: str,
    platforms: Sequence[str],
    engines: Mapping[str, Engine],
    *,
    must_be_here: bool = True,
) -> tuple[Choice, str]:
    """Return the engine for a model of ``model_format``, and the platform it runs on.

    Parameters
    ----------
    platforms
        What is here, best first; the first on which some engine can be started is taken.
    must_be_here
        False for a command that is only to be shown.

    Raises
    ------
    InputError
        No engine opens such a model on any of the platforms.
    EnvironmentLacking
        Some would, and none is installed; with how to get each.
    """
    opens = {name: engine for name, engine in engines.items() if model_format in engine.formats}
    if not opens:
        raise InputError(f"no engine opens a model that is {model_format}")
    here: dict[str, Presence] = {}
    passed: list[tuple[str, str]] = []
    for platform in platforms:
        for name in sorted(opens, key=lambda name: _rank(name, platform)):
            engine = opens[name]
            if platform not in engine.platforms:
                continue
            presence = here.setdefault(name, _presence(engine))
            if must_be_here and not presence.here:
                passed.append((name, f"not here: {', '.join(presence.lacking)}"))
                continue
            title = PLATFORMS[platform].title if platform in PLATFORMS else platform
            why = f"{name} opens {model_format} models and runs on {title}"
            return Choice(
                engine=engine, presence=presence, why=why, passed_over=tuple(dict.fromkeys(passed))
            ), platform
    if not here:
        runs = {name: ", ".join(engine.platforms) for name, engine in opens.items()}
        raise InputError(
            f"no engine opens a {model_format} model on {', '.join(platforms)}",
            hint="; ".join(f"{name} runs on {where}" for name, where in runs.items()),
        )
    ways = [f"{name}: {presence.remedy}" for name, presence in here.items() if presence.remedy]
    raise EnvironmentLacking(
        f"no engine for a {model_format} model on {', '.join(platforms)} is installed here",
        hint="get one of them:\n" + "\n".join(f"  {way}" for way in ways),
    )


def _presence(engine: Engine) -> Presence:
    try:
        return engine.presence()
    except DougongError:
        raise
    except Exception as error:  # a stranger's adapter is not to end the program
        return Presence(here=False, lacking=(f"{type(error).__name__}: {error}",))


def _rank(name: str, platform: str) -> tuple[int, str]:
    order = ORDER_ON_CPU if platform == "cpu" else ORDER
    return (order.index(name) if name in order else len(order), name)
