"""Who calls: the key of a request, its pace and its share."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from dougong.errors import InputError
from dougong.gateway.keys import KeyEntry, id_of, read_keys, word_entry
from dougong.gateway.settings import Settings
from dougong.gateway.wire import Refusal

_NOBODY = KeyEntry(name="nobody", id="", salt="00" * 16, sha256=secrets.token_hex(32))
_CHALLENGE = ((b"www-authenticate", b"Bearer"),)


class TokenBucket:
    """Lets ``rate`` [1/s] through in the long run and ``burst`` at once."""

    def __init__(self, rate_per_s: float, burst: float, now_s: float) -> None:
        self.rate_per_s, self.burst = rate_per_s, burst
        self.level, self.seen_s = burst, now_s

    def take(self, now_s: float) -> float:
        """Take one if there is one; return the seconds until there is [s], 0 where it was taken."""
        self.level = min(self.burst, self.level + (now_s - self.seen_s) * self.rate_per_s)
        self.seen_s = now_s
        if self.level >= 1.0:
            self.level -= 1.0
            return 0.0
        return (1.0 - self.level) / self.rate_per_s


class Caller:
    """A key while the gateway runs."""

    def __init__(self, entry: KeyEntry, now_s: float) -> None:
        self.entry = entry
        self.in_flight = 0
        rate = entry.requests_per_s
        self.bucket = None if rate is None else TokenBucket(rate, float(entry.burst or max(1.0, rate)), now_s)

    def enter(self, now_s: float) -> None:
        """Begin a request; :meth:`leave` ends it.

        Raises
        ------
        Refusal
            429 above the key's limits.
        """
        most = self.entry.max_concurrent
        if most is not None and self.in_flight >= most:
            words = f"this key may have {most} requests at a time"
            raise Refusal(429, words, code="concurrency_limit_exceeded", retry_after_s=1.0)
        if self.bucket is not None and (wait_s := self.bucket.take(now_s)):
            words = f"this key may send {self.entry.requests_per_s:g} requests per second"
            raise Refusal(429, words, code="rate_limit_exceeded", retry_after_s=wait_s)
        self.in_flight += 1

    def leave(self) -> None:
        """End a request."""
        self.in_flight -= 1

    def may_use(self, model: str) -> bool:
        """Whether the key is good for a model."""
        return not self.entry.models or model in self.entry.models


class Callers:
    """All keys; the file is read anew when it changes.

    Parameters
    ----------
    on_fault
        Told when a changed file cannot be read; the keys before it stay in force.
    """

    def __init__(self, settings: Settings, on_fault: Callable[[InputError], None]) -> None:
        self.file, self.on_fault = settings.keys_file, on_fault
        self.guarded = settings.guarded
        self.by_id: dict[str, Caller] = {}
        self.words = [Caller(word_entry(key, f"key-{i}"), 0.0) for i, key in enumerate(settings.keys, 1)]
        self._stamp: object = None
        if self.file is not None:
            self._stamp = _stamp(self.file)
            self._take(read_keys(self.file))

    def _take(self, entries: tuple[KeyEntry, ...]) -> None:
        """Put new entries in force; an unchanged key keeps its pace."""
        old = self.by_id
        self.by_id = {
            entry.id: old[entry.id]
            if entry.id in old and old[entry.id].entry == entry
            else Caller(entry, 0.0)
            for entry in entries
        }

    def refresh(self) -> None:
        """Read the file anew if it changed."""
        if self.file is None or (stamp := _stamp(self.file)) == self._stamp:
            return
        self._stamp = stamp
        try:
            self._take(read_keys(self.file))
        except InputError as fault:
            self.on_fault(fault)

    def check(self, authorization: bytes | None) -> Caller | None:
        """Return who calls; None where no key is asked for.

        Raises
        ------
        Refusal
            401 without a key that is known; it does not say what is wrong with it.
        """
        if not self.guarded:
            return None
        scheme, _, key = (authorization or b"").decode("latin-1").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            words = "send your key as: Authorization: Bearer KEY"
            raise Refusal(401, words, code="missing_api_key", headers=_CHALLENGE)
        caller = self._find(key)
        if caller is None or caller.entry.over(datetime.now(UTC)):
            raise Refusal(
                401, "this key is not known or has ended", code="invalid_api_key", headers=_CHALLENGE
            )
        return caller

    def _find(self, key: str) -> Caller | None:
        identity = id_of(key)
        found = self.by_id.get(identity) if identity is not None else None
        if (found.entry if found is not None else _NOBODY).fits(key):
            return found
        fitting = [caller for caller in self.words if caller.entry.fits(key)]
        return fitting[0] if fitting else None


def _stamp(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
