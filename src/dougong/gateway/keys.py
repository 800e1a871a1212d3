"""API keys: made with 256 random bits, kept as salted hashes, compared in constant time.

::

    schema = 1

    [[key]]
    name = "alice"
    id = "3f9c21aa"
    salt = "…"            # 16 bytes, hex
    sha256 = "…"          # of salt and key, hex
    requests_per_s = 5.0  # all that follow may be left out
    burst = 10
    max_concurrent = 8
    models = ["smollm2-135m"]
    expires = 2027-01-01T00:00:00Z

Notes
-----
A slow hash guards words that people choose; a key made here has more entropy than can be searched, so that one
SHA-256 is enough and 10,000 wrong keys cost the gateway 10,000 microseconds. A key that is given in words
(``--api-key``) is only held in memory, hashed the same way.

References
----------
NIST SP 800-132, appendix A.2: what salts and iterations are for.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from dougong.errors import InputError, UnknownId

PREFIX = "dg-"
MAX_FILE_BYTES = 16 << 20
_KEY = re.compile(r"dg-([0-9a-f]{8})-[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HEX = {"id": 4, "salt": 16, "sha256": 32}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """What is kept of one key, and what it may do.

    Attributes
    ----------
    name
        Whose it is; stands in records, metrics and logs.
    id
        The part of the key that finds its entry; no secret.
    salt, sha256
        The hash, hex.
    requests_per_s, burst
        Pace of requests [request/s] and how many may come at once; None sets no limit.
    max_concurrent
        Requests at a time; None sets no limit.
    models
        Models it may use; empty: all.
    expires
        When it ends; None: never.
    """

    name: str
    id: str
    salt: str
    sha256: str
    requests_per_s: float | None = None
    burst: int | None = None
    max_concurrent: int | None = None
    models: tuple[str, ...] = ()
    expires: datetime | None = None

    def fits(self, key: str) -> bool:
        """Whether this is the key, in constant time."""
        return hmac.compare_digest(_digest(self.salt, key), self.sha256)

    def over(self, now: datetime) -> bool:
        """Whether it has ended."""
        return self.expires is not None and now >= self.expires


def _digest(salt: str, key: str) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + key.encode("utf-8", "surrogateescape")).hexdigest()


def new_key(name: str, **limits: Any) -> tuple[str, KeyEntry]:
    """Make a key; return it, which is nowhere else, and what is to be kept.

    Raises
    ------
    InputError
        The name or a limit is wrong.
    """
    identity = secrets.token_hex(_HEX["id"])
    key = f"{PREFIX}{identity}-{secrets.token_urlsafe(32)}"
    return key, _entry_of(key, name, identity, limits)


def word_entry(key: str, name: str) -> KeyEntry:
    """Return the entry of a key that was given in words."""
    if len(key) < 8 or not (key.isascii() and key.isprintable()) or " " in key:
        raise InputError(f"{name} must be at least 8 printable ASCII characters without spaces")
    return _entry_of(key, name, "", {})


def _entry_of(key: str, name: str, identity: str, limits: Mapping[str, Any]) -> KeyEntry:
    salt = secrets.token_hex(_HEX["salt"])
    entry = KeyEntry(name=name, id=identity, salt=salt, sha256=_digest(salt, key), **limits)
    if faults := _faults(entry):
        raise InputError("; ".join(faults))
    return entry


def _faults(entry: KeyEntry) -> list[str]:
    faults: list[str] = []
    if not _NAME.fullmatch(entry.name):
        faults.append(f"name {entry.name[:80]!r} must be letters, digits and . _ @ -, at most 64")
    if entry.requests_per_s is not None and not 0 < entry.requests_per_s < 1e6:
        faults.append(f"requests_per_s is {entry.requests_per_s:g}; it must be above 0 and below a million")
    for limit in ("burst", "max_concurrent"):
        value = getattr(entry, limit)
        if value is not None and value < 1:
            faults.append(f"{limit} is {value}; it must be at least 1")
    if entry.burst is not None and entry.requests_per_s is None:
        faults.append("burst needs requests_per_s")
    if entry.expires is not None and entry.expires.tzinfo is None:
        faults.append("expires needs a time zone, such as Z")
    return faults


def read_keys(path: Path) -> tuple[KeyEntry, ...]:
    """Read a file of keys.

    Raises
    ------
    InputError
        It is not there, too long, or wrong; all faults at once, none quoting a hash.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as fault:
        raise InputError(
            f"keys cannot be read from {path}: {fault.strerror}", hint="make one with: dougong keys add NAME"
        ) from None
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{path}: longer than {MAX_FILE_BYTES} bytes")
    try:
        content = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise InputError(f"{path}: no TOML: {str(fault)[:200]}") from None
    faults: list[str] = []
    if content.get("schema") != 1:
        faults.append(f"schema is {content.get('schema')!r}; this version reads 1")
    listed = content.get("key", [])
    rows = cast(list[Any], listed) if isinstance(listed, list) else []
    entries = [entry for i, row in enumerate(rows) if (entry := _read(row, f"key {i + 1}", faults))]
    faults += [f"unknown table {name!r}" for name in content if name not in ("schema", "key")]
    for label in ("name", "id"):
        seen = [getattr(entry, label) for entry in entries]
        faults += [f"{label} {one!r} stands twice" for one in sorted({x for x in seen if seen.count(x) > 1})]
    if faults:
        raise InputError("\n".join([f"{path}:", *(f"  {fault}" for fault in faults)]))
    return tuple(entries)


_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "id", "salt", "sha256"), (str,)),
    "requests_per_s": (int, float),
    **dict.fromkeys(("burst", "max_concurrent"), (int,)),
    "models": (list,),
    "expires": (datetime,),
}


def _read(row: object, place: str, faults: list[str]) -> KeyEntry | None:
    if not isinstance(row, dict):
        faults.append(f"{place}: no table")
        return None
    values = cast(dict[str, Any], row)
    if isinstance(values.get("name"), str):
        place += f" ({values['name'][:64]!r})"
    wrong = [f"{place}: unknown field {name!r}" for name in values if name not in _TYPES]
    for name, types in _TYPES.items():
        value = values.get(name)
        if value is None and name in ("name", "id", "salt", "sha256"):
            wrong.append(f"{place}: {name} is missing")
        elif value is not None and (not isinstance(value, types) or isinstance(value, bool)):
            wrong.append(f"{place}: {name} is no {' or '.join(t.__name__ for t in types)}")
        elif name in _HEX and not re.fullmatch(rf"[0-9a-f]{{{2 * _HEX[name]}}}", str(value)):
            wrong.append(f"{place}: {name} is not {2 * _HEX[name]} hex digits")
    models = values.get("models", [])
    if isinstance(models, list) and not all(isinstance(one, str) for one in cast(list[Any], models)):
        wrong.append(f"{place}: models must be names")
    faults += wrong
    if wrong:
        return None
    values["models"] = tuple(cast(list[str], models))
    entry = KeyEntry(**values)
    bad = _faults(entry)
    faults += [f"{place}: {fault}" for fault in bad]
    return None if bad else entry


def write_keys(path: Path, entries: Sequence[KeyEntry]) -> None:
    """Write a file of keys, whole or not at all, readable by its owner alone."""
    lines = ["# API keys of a Dougong gateway: hashes, no keys.", "schema = 1"]
    for entry in entries:
        lines += ["", "[[key]]"]
        for field in fields(entry):
            value = getattr(entry, field.name)
            if value is not None and value != ():
                lines.append(f"{field.name} = {_toml(value)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _toml(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps(list(cast(tuple[str, ...], value)) if isinstance(value, tuple) else value)


def add_key(path: Path, name: str, **limits: Any) -> str:
    """Make a key, keep its hash in a file, return the key."""
    entries = read_keys(path) if path.exists() else ()
    if any(entry.name == name for entry in entries):
        raise InputError(
            f"{path} has a key called {name!r}", hint=f"remove it first: dougong keys remove {name}"
        )
    key, entry = new_key(name, **limits)
    write_keys(path, [*entries, entry])
    return key


def remove_key(path: Path, name: str) -> None:
    """Take a key out of a file; a running gateway drops it within seconds."""
    entries = read_keys(path)
    kept, names = [entry for entry in entries if entry.name != name], [entry.name for entry in entries]
    if len(kept) == len(entries):
        raise UnknownId("key", name, names, hint=f"there are: {', '.join(sorted(names)[:20]) or 'none'}")
    write_keys(path, kept)


def id_of(key: str) -> str | None:
    """Return the part of a key that finds its entry; None for a key of another make."""
    match = _KEY.fullmatch(key)
    return match[1] if match else None
