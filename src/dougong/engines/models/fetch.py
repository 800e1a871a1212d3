"""Brings a file from the network: resumed where it broke off, checked against its hash, never by two at once."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from dougong import __version__
from dougong.errors import EnvironmentLacking, InputError

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30.0
TRIES = 4
INDEX_BYTES = 64 << 20  # no listing of a repository is longer
SPARE_BYTES = 256 << 20  # left free on the disk
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Progress(Protocol):
    """Told how far something is; ``total`` is None where nobody knows."""

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Take note: ``done`` of ``total`` bytes of ``what``."""
        ...


def silent(what: str, done: int, total: int | None) -> None:
    """Take no note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A file somewhere else.

    Attributes
    ----------
    size
        Its length [byte], where its index tells.
    sha256
        Its hash in hex, where its index tells; a file that differs is thrown away.
    """

    url: str
    size: int | None = None
    sha256: str | None = None
    headers: Mapping[str, str] | None = None


def offline() -> bool:
    """Say whether the user has forbidden the network: ``DOUGONG_OFFLINE`` or ``HF_HUB_OFFLINE``."""
    return any(os.environ.get(name, "0") not in ("", "0") for name in ("DOUGONG_OFFLINE", "HF_HUB_OFFLINE"))


def read_json(url: str, headers: Mapping[str, str] | None = None) -> object:
    """Fetch a JSON document of bounded size.

    Raises
    ------
    EnvironmentLacking
        The host cannot be reached, or the network is forbidden.
    InputError
        The host answers that there is no such thing.
    """
    with _open(url, headers or {}, 0) as reply:
        raw = reply.read(INDEX_BYTES + 1)
    if len(raw) > INDEX_BYTES:
        raise InputError(f"{url}: the answer is longer than any listing")
    try:
        return json.loads(raw)
    except ValueError as error:
        raise EnvironmentLacking(f"{_host(url)} answered with something that is no JSON") from error


def download(remote: Remote, target: Path, *, most_bytes: int, progress: Progress = silent) -> str:
    """Bring ``remote`` to ``target`` and return its sha256 in hex.

    What an earlier try left in ``target.part`` is taken up again by a range request.

    Raises
    ------
    EnvironmentLacking
        No network, no room on the disk, or the bytes that came are not those of the index.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    if remote.size is not None:
        if remote.size > most_bytes:
            raise InputError(
                f"{remote.url}: {remote.size:,} bytes are more than the {most_bytes:,} allowed here"
            )
        _check_room(target.parent, remote.size - (part.stat().st_size if part.exists() else 0))
    found = ""
    for trial in range(TRIES):
        try:
            found = _take(remote, part, target.name, most_bytes, progress)
            break
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno is not None and not _of_network(error):
                raise EnvironmentLacking(f"{part}: {error.strerror}") from error
            if trial == TRIES - 1:
                raise EnvironmentLacking(
                    f"{_host(remote.url)} broke off {TRIES} times: {error}",
                    hint="try again: what came is kept and taken up",
                ) from error
            time.sleep(min(2.0**trial, 8.0))
    if remote.sha256 is not None and found != remote.sha256:
        part.unlink(missing_ok=True)
        raise EnvironmentLacking(
            f"{target.name}: what {_host(remote.url)} sent has sha256 {found}, and its index says {remote.sha256}",
            hint="it was thrown away; try again, or take another mirror",
        )
    part.replace(target)
    return found


def sha256_of(path: Path, progress: Progress = silent) -> str:
    """Return the sha256 of a file in hex."""
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            progress(f"hash of {path.name}", done, total)
    return digest.hexdigest()


@contextlib.contextmanager
def locked(folder: Path, progress: Progress = silent) -> Generator[None]:
    """Hold the lock of ``folder`` against other processes; waits for whoever holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+b") as file:
        while not _lock(file):
            progress(f"another process is fetching {folder.name}", 0, None)
            time.sleep(0.2)
        try:
            yield
        finally:
            _unlock(file)


def _take(remote: Remote, part: Path, name: str, most_bytes: int, progress: Progress) -> str:
    digest = hashlib.sha256()
    done = part.stat().st_size if part.exists() else 0
    if remote.size is not None and done > remote.size:
        part.unlink()
        done = 0
    if done and (remote.size is None or remote.sha256 is None):
        part.unlink()  # without a size and a hash nobody can say whether the pieces belong together
        done = 0
    if done:
        with part.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        if done == remote.size:
            return digest.hexdigest()
    with _open(remote.url, remote.headers or {}, done) as reply:
        if done and reply.status != 206:  # the host sends all of it again
            digest, done = hashlib.sha256(), 0
        total = remote.size if remote.size is not None else _length(reply, done)
        with part.open("ab" if done else "wb") as file:
            while chunk := reply.read(CHUNK_BYTES):
                done += len(chunk)
                if done > (most_bytes if remote.size is None else remote.size):
                    raise EnvironmentLacking(f"{_host(remote.url)} sends more of {name} than its index says")
                file.write(chunk)
                digest.update(chunk)
                progress(name, done, total)
    if total is not None and done < total:
        raise http.client.IncompleteRead(b"", total - done)
    return digest.hexdigest()


def _length(reply: http.client.HTTPResponse, done: int) -> int | None:
    told = reply.headers.get("Content-Length", "")
    return int(told) + done if told.isdecimal() else None


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Follows to https only, and takes no secret to another host."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_scheme(newurl, from_host=_host(req.full_url))
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None and _host(newurl) != _host(req.full_url):
            for name in ("Authorization", "Cookie"):
                made.headers.pop(name, None)
        return made


def _open(url: str, headers: Mapping[str, str], start: int) -> http.client.HTTPResponse:
    if offline():
        raise EnvironmentLacking(
            f"{_host(url)} is not asked: DOUGONG_OFFLINE or HF_HUB_OFFLINE is set",
            hint="unset it, or serve what the cache has: dougong models list",
        )
    _check_scheme(url)
    sent = {"User-Agent": f"dougong/{__version__}", **headers}
    if start:
        sent["Range"] = f"bytes={start}-"
    opener = urllib.request.build_opener(_Redirect)
    try:
        return opener.open(urllib.request.Request(url, headers=sent), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403):
            raise EnvironmentLacking(
                f"{_host(url)} refuses {_path(url)} ({error.code})",
                hint="a gated or private model wants a token: HF_TOKEN, or MODELSCOPE_API_TOKEN",
            ) from error
        if error.code == 404:
            raise InputError(f"{_host(url)} has no {_path(url)}") from error
        raise EnvironmentLacking(f"{_host(url)} answered {error.code} to {_path(url)}") from error
    except urllib.error.URLError as error:
        raise EnvironmentLacking(
            f"{_host(url)} cannot be reached: {error.reason}",
            hint="without a network, give a file that is here (file:PATH), or serve what the cache has: "
            "dougong models list",
        ) from error


def _check_scheme(url: str, from_host: str | None = None) -> None:
    parts = urllib.parse.urlsplit(url)
    plain_allowed = parts.hostname in _LOOPBACK or (from_host is None and _is_users_mirror(parts.netloc))
    if parts.scheme != "https" and not (parts.scheme == "http" and plain_allowed):
        raise InputError(f"{url}: only https is fetched, or a mirror that you have named in a variable")


def _is_users_mirror(netloc: str) -> bool:
    names = ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT", "DOUGONG_PYPI", "PIP_INDEX_URL")
    return any(netloc == urllib.parse.urlsplit(os.environ.get(name, "")).netloc for name in names)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise EnvironmentLacking(
            f"{folder}: {needed / 1e9:.1f} GB are to come and {free / 1e9:.1f} GB are free",
            hint="make room, or take another folder: DOUGONG_CACHE=DIR",
        )


def _of_network(error: OSError) -> bool:
    return isinstance(error, ConnectionError | TimeoutError | urllib.error.URLError) or error.errno in (
        101,
        110,
        113,
    )


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).hostname or url


def _path(url: str) -> str:
    return urllib.parse.urlsplit(url).path.lstrip("/")


if os.name == "nt":
    import msvcrt

    def _lock(file: IO[bytes]) -> bool:
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
