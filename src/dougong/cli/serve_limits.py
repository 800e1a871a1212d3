"""The limits of ``dougong serve``: one row per flag, with what it sets; the defaults are those of what is set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dougong.cli.words import Faults
from dougong.engines.supervise import Watch
from dougong.gateway.settings import Settings

ADMISSION, TIMES, SIZES, WATCH = "Admission", "Time limits", "Size limits", "Health and restarts"

_MOST_S = 7 * 86_400.0
_MOST_BYTES = 2.0**50


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitFlag:
    """One flag.

    Attributes
    ----------
    dimension
        ``s``, ``byte`` or ``token`` (a count).
    settings, watch
        The fields of :class:`~dougong.gateway.settings.Settings` and :class:`~dougong.engines.supervise.Watch`
        that it sets; empty where it sets none.
    """

    section: str
    flag: str
    text: str
    dimension: str
    settings: str = ""
    watch: str = ""

    @property
    def metavar(self) -> str:
        """What stands for its value on the help page."""
        return {"s": "TIME", "byte": "SIZE"}.get(self.dimension, "N")

    @property
    def word(self) -> str:
        """Its name among the words of the command."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def help(self) -> str:
        """Its line on the help page, with the default."""
        defaults = [
            _shown(getattr(owner, name), self.dimension)
            for owner, name in ((Settings(), self.settings), (Watch(), self.watch))
            if name
        ]
        return f"{self.text} [{', of an engine launched here '.join(dict.fromkeys(defaults))}]."


def _time(section: str, flag: str, text: str, **sets: str) -> LimitFlag:
    return LimitFlag(section=section, flag=flag, text=text, dimension="s", **sets)


def _size(flag: str, text: str, **sets: str) -> LimitFlag:
    return LimitFlag(section=SIZES, flag=flag, text=text, dimension="byte", **sets)


def _count(section: str, flag: str, text: str, **sets: str) -> LimitFlag:
    return LimitFlag(section=section, flag=flag, text=text, dimension="token", **sets)


LIMITS = (
    _count(ADMISSION, "--queue", "Requests that may wait for a free replica", settings="max_queue"),
    _time(
        ADMISSION,
        "--queue-timeout",
        "Longest wait; who would wait longer gets 429 at once",
        settings="queue_timeout_s",
    ),
    _count(ADMISSION, "--connections", "Clients connected at a time", settings="max_connections"),
    _count(
        ADMISSION,
        "--attempts",
        "Replicas tried for a request before its first byte",
        settings="max_attempts",
    ),
    _time(
        TIMES,
        "--request-timeout",
        "Longest time of a request in all, its wait included; then 504",
        settings="request_timeout_s",
    ),
    _time(
        TIMES,
        "--first-byte-timeout",
        "Longest silence of an engine before its first byte; then another replica is asked",
        settings="first_byte_timeout_s",
    ),
    _time(
        TIMES,
        "--stall-timeout",
        "Longest silence within an answer, of the engine or of a client that does not read",
        settings="stall_timeout_s",
    ),
    _time(TIMES, "--connect-timeout", "Longest time to connect to an engine", settings="connect_timeout_s"),
    _time(TIMES, "--header-timeout", "Time a client has for its headers", settings="header_timeout_s"),
    _time(TIMES, "--body-timeout", "Time a client has for its body", settings="body_timeout_s"),
    _time(TIMES, "--drain-timeout", "Time running answers have after a stop", settings="drain_s"),
    _size("--body-limit", "Longest body of a request; then 413", settings="max_body_bytes"),
    _size("--reply-limit", "Longest answer in one piece of an engine", settings="max_reply_bytes"),
    _size("--records-limit", "Longest the file of records may grow", settings="max_records_bytes"),
    _time(
        WATCH,
        "--health-every",
        "Time between two checks of a replica",
        settings="health_every_s",
        watch="probe_every_s",
    ),
    _time(
        WATCH,
        "--health-timeout",
        "Time a replica has for a check",
        settings="health_timeout_s",
        watch="probe_timeout_s",
    ),
    _count(
        WATCH,
        "--checks-failed",
        "Checks failed in a row after which an engine is hung",
        watch="probes_failed",
    ),
    _time(WATCH, "--start-timeout", "Time an engine has until it is ready", watch="start_s"),
    _time(WATCH, "--end-timeout", "Time an engine has to end before it is killed", watch="grace_s"),
    _count(
        WATCH, "--deaths", "Deaths after which an engine is given up; 1 never restarts it", watch="deaths"
    ),
    _time(WATCH, "--deaths-within", "Time within which deaths are counted", watch="deaths_within_s"),
    _time(
        WATCH,
        "--restart-after",
        "Pause before the first restart, doubled with each",
        watch="backoff_first_s",
    ),
    _time(WATCH, "--restart-at-most", "Longest such pause", watch="backoff_most_s"),
)
"""Every limit that a flag sets, in the order of the help page."""


def read_limits(words: Mapping[str, Any], faults: Faults) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the limits that are given.

    Returns
    -------
    tuple
        Fields of Settings, and fields of Watch.
    """
    settings: dict[str, Any] = {}
    watch: dict[str, Any] = {}
    for limit in LIMITS:
        text = words[limit.word]
        if text is None:
            continue
        if limit.dimension == "s":
            value = faults.quantity(limit.flag, text, "s", most=_MOST_S)
        elif limit.dimension == "byte":
            size = faults.quantity(limit.flag, text, "byte", most=_MOST_BYTES)
            value = None if size is None else int(size)
        else:
            value = faults.count(limit.flag, text)
        if value is None:
            continue
        if value == 0 and limit.settings != "max_queue":
            faults.add(limit.flag, "0 is too little")
            continue
        for owner, name in ((settings, limit.settings), (watch, limit.watch)):
            if name:
                owner[name] = value
    return settings, watch


def _shown(value: float, dimension: str) -> str:
    if dimension == "token":
        return f"{value:,}"
    scale, unit = {"s": (60, "min"), "byte": (1 << 20, "MiB")}[dimension]
    if dimension == "s" and value % 3600 == 0:
        scale, unit = 3600, "h"
    if dimension == "byte" and value % (1 << 30) == 0:
        scale, unit = 1 << 30, "GiB"
    return f"{value / scale:g}{unit}" if value >= scale and value % scale == 0 else f"{value:g}{dimension}"
