"""What a gateway is told: where it listens, which replicas stand behind it, and its limits."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from dougong.errors import InputError

_PLACES = 512
_NO_ALIASES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One engine behind the gateway.

    Attributes
    ----------
    url
        Where it answers, with or without the ``/v1`` of its API.
    name
        Its name in metrics, records and logs; host and port by default.
    models
        Ids it serves; without any, and without aliases, it is asked at ``/v1/models``.
    aliases
        Public id to the id that this engine knows, where they differ.
    key
        What it wants as a bearer token. Never shown.
    chip
        Catalog id of its chip, for the metrics.
    max_concurrent
        Requests it is given at a time; more wait in the gateway. None gives twice ``parallel``, so that its batch
        is full while its own queue is short, and 512 where ``parallel`` is not known.
    parallel
        Requests it serves side by side; 1 where nobody says.
    ttft_s, tpot_s
        Predicted time to first token and per output token [s]; None where no plan says.
    health_path
        What is asked for health; an engine that answers 404 there is asked for its models.
    stream_usage
        Whether it understands ``stream_options.include_usage``.
    """

    url: str
    name: str = ""
    models: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=lambda: _NO_ALIASES)
    key: str | None = field(default=None, repr=False)
    chip: str = ""
    max_concurrent: int | None = None
    parallel: int = 1
    ttft_s: float | None = None
    tpot_s: float | None = None
    health_path: str = "/health"
    stream_usage: bool = True

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        faults: list[str] = []
        if parts.scheme not in ("http", "https") or not parts.hostname:
            faults.append("url must be http://HOST:PORT or https://HOST[:PORT]")
        if parts.username or parts.query or parts.fragment:
            faults.append("url must hold no user, query or fragment; a key goes into key")
        for name in ("max_concurrent", "parallel"):
            if (value := getattr(self, name)) is not None and value < 1:
                faults.append(f"{name} is {value}; it must be at least 1")
        for name in ("ttft_s", "tpot_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e6:
                faults.append(f"{name} is {value!r}; it must be a positive number of seconds")
        if self.key is not None and not (self.key.isascii() and self.key.isprintable()):
            faults.append("key must be printable ASCII")
        if faults:
            raise InputError(f"replica {self.url.rpartition('@')[2]!r}: " + "; ".join(faults))
        if not self.name:
            object.__setattr__(self, "name", parts.netloc)

    @property
    def places(self) -> int:
        """Requests it is given at a time."""
        if self.max_concurrent is not None:
            return self.max_concurrent
        return 2 * self.parallel if self.parallel > 1 else _PLACES


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Limits of a gateway; every default is meant for a team on one machine.

    Attributes
    ----------
    keys_file
        Keys that may use it (see :mod:`dougong.gateway.keys`); read anew when it changes.
    keys
        Keys given in words, beside the file; held as hashes. Never shown.
    max_body_bytes
        Longest request body [byte]; longer ones get 413.
    max_connections
        Clients connected at a time; more are told 503 and closed.
    max_reply_bytes
        Longest answer in one piece taken from an engine [byte].
    header_timeout_s, body_timeout_s
        How long a client may take for its headers and for its body [s].
    first_byte_timeout_s
        How long an engine may take to its first byte [s]; then another replica is asked.
    stall_timeout_s
        How long an engine may be silent within an answer, and a client leave it unread [s].
    request_timeout_s
        How long a request may take in all, its time in the queue included [s].
    connect_timeout_s
        How long a connection to an engine may take [s].
    max_queue
        Requests that may wait for a replica; more get 429.
    queue_timeout_s
        How long one may wait [s]; who is predicted to wait longer gets 429 at once.
    max_attempts
        Replicas tried for one request before its first byte.
    health_every_s, health_timeout_s
        Time between two checks of a replica, and for one check [s].
    drain_s
        How long running answers may go on after a stop [s].
    records
        SQLite file of request records; None keeps none.
    max_records_bytes
        Longest that file may grow [byte]; then records are counted as lost.
    log
        File of JSON lines; ``-`` is stderr, None writes none.
    """

    keys_file: Path | None = None
    keys: Sequence[str] = field(default=(), repr=False)
    max_body_bytes: int = 32 << 20
    max_connections: int = 16_384
    max_reply_bytes: int = 256 << 20
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    first_byte_timeout_s: float = 600.0
    stall_timeout_s: float = 120.0
    request_timeout_s: float = 7200.0
    connect_timeout_s: float = 5.0
    max_queue: int = 1024
    queue_timeout_s: float = 30.0
    max_attempts: int = 3
    health_every_s: float = 2.0
    health_timeout_s: float = 5.0
    drain_s: float = 30.0
    records: Path | None = None
    max_records_bytes: int = 4 << 30
    log: Path | None = None

    def __post_init__(self) -> None:
        faults = [
            f"{f.name} is {value!r}; it must be positive"
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), int | float)
            and not value > 0
            and f.name != "max_queue"
        ]
        if self.max_queue < 0:
            faults.append(f"max_queue is {self.max_queue}; it must not be negative")
        if faults:
            raise InputError("gateway settings: " + "; ".join(faults))

    @property
    def guarded(self) -> bool:
        """Whether a key is asked for."""
        return self.keys_file is not None or bool(self.keys)


def check_bind(host: str, settings: Settings, *, allow_open: bool = False) -> None:
    """Refuse to listen beyond this machine without keys, unless that is said.

    Raises
    ------
    InputError
        The host is not loopback, no key is asked for, and ``allow_open`` is not set.
    """
    if not (settings.guarded or allow_open or is_loopback(host)):
        raise InputError(
            f"{host} can be reached from other machines, and no key is asked for",
            hint="make one with `dougong keys add NAME` and pass --keys FILE, or say --allow-open",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
