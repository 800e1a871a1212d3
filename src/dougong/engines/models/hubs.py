"""What repositories hold: Hugging Face, ModelScope and PyPI, each by its own listing."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urljoin

from dougong.engines.models.fetch import Remote, read_json
from dougong.engines.models.store import is_safe
from dougong.errors import EnvironmentLacking, InputError

_REPO = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_PROJECT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A repository at one revision: its files by path."""

    source: str
    revision: str
    files: Mapping[str, Remote]


def list_huggingface(repo: str, revision: str) -> Listing:
    """List ``owner/name`` at a branch, tag or commit; the commit that it means is what is fetched.

    ``HF_ENDPOINT`` names a mirror, ``HF_TOKEN`` opens what is gated or private.
    """
    _check_repo(repo)
    base = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    headers = {"Authorization": f"Bearer {token}"} if (token := os.environ.get("HF_TOKEN")) else {}
    url = f"{base}/api/models/{quote(repo)}/revision/{quote(revision, safe='')}?blobs=true"
    told = _mapping(read_json(url, headers), url)
    commit = str(told.get("sha", revision))
    files: dict[str, Remote] = {}
    for entry in _list(told.get("siblings"), url):
        path, lfs = str(entry.get("rfilename", "")), entry.get("lfs")
        large = cast(dict[str, Any], lfs) if isinstance(lfs, dict) else {}
        files[path] = Remote(
            url=f"{base}/{quote(repo)}/resolve/{quote(commit, safe='')}/{quote(path)}",
            size=_size(large.get("size", entry.get("size"))),
            sha256=_hash(large.get("sha256")),
            headers=headers,
        )
    return Listing(source=f"hf:{repo}", revision=commit, files=_safe(files, repo))


def list_modelscope(repo: str, revision: str) -> Listing:
    """List ``owner/name`` of ModelScope; ``MODELSCOPE_ENDPOINT`` and ``MODELSCOPE_API_TOKEN`` as there."""
    _check_repo(repo)
    base = os.environ.get("MODELSCOPE_ENDPOINT", "https://www.modelscope.cn").rstrip("/")
    headers = {"Authorization": f"Bearer {key}"} if (key := os.environ.get("MODELSCOPE_API_TOKEN")) else {}
    api = f"{base}/api/v1/models/{quote(repo)}/repo"
    url = f"{api}/files?Revision={quote(revision, safe='')}&Recursive=true"
    told = _mapping(read_json(url, headers), url)
    data = told.get("Data")
    entries = _list(cast(dict[str, Any], data).get("Files") if isinstance(data, dict) else None, url)
    files: dict[str, Remote] = {}
    for entry in entries:
        if entry.get("Type") == "tree":
            continue
        path = str(entry.get("Path", ""))
        files[path] = Remote(
            url=f"{api}?Revision={quote(revision, safe='')}&FilePath={quote(path, safe='')}",
            size=_size(entry.get("Size")),
            sha256=_hash(entry.get("Sha256")),
            headers=headers,
        )
    return Listing(source=f"modelscope:{repo}", revision=revision, files=_safe(files, repo))


def list_pypi(project: str, version: str | None) -> Listing:
    """List the wheels of one release, the newest unless ``version`` is given, each with its sha256.

    ``DOUGONG_PYPI``, else ``PIP_INDEX_URL``, names another index that answers in JSON.

    References
    ----------
    PEP 691 and PEP 700: the JSON form of the simple index.
    """
    if not _PROJECT.fullmatch(project):
        raise InputError(f"{project!r} is no name of a package")
    told_index = os.environ.get("DOUGONG_PYPI") or os.environ.get("PIP_INDEX_URL") or ""
    index = told_index if told_index.startswith("http") else "https://pypi.org/simple"
    url = f"{index.rstrip('/')}/{re.sub(r'[-_.]+', '-', project).lower()}/"
    told = _mapping(read_json(url, {"Accept": "application/vnd.pypi.simple.v1+json"}), url)
    wheels: dict[str, dict[str, Remote]] = {}
    for entry in _list(told.get("files"), url):
        name, hashes = str(entry.get("filename", "")), entry.get("hashes")
        parts = name.split("-")
        if not name.endswith(".whl") or len(parts) < 5 or entry.get("yanked") or not isinstance(hashes, dict):
            continue
        sha256 = _hash(cast(dict[str, Any], hashes).get("sha256"))
        if sha256 is not None and is_safe(name) and "/" not in name:
            remote = Remote(
                url=urljoin(url, str(entry.get("url"))), size=_size(entry.get("size")), sha256=sha256
            )
            wheels.setdefault(parts[1], {})[name] = remote
    if not wheels:
        raise InputError(f"{index} has no wheel of {project} with a hash")
    chosen = version or max(wheels, key=_version_key)
    if chosen not in wheels:
        known = ", ".join(sorted(wheels, key=_version_key)[-8:])
        raise InputError(f"{project} has no wheel of version {chosen}", hint=f"versions: {known}")
    return Listing(source=f"pypi:{project}", revision=chosen, files=wheels[chosen])


def local_listing(folder: Path) -> dict[str, int]:
    """Return the files below a folder with their lengths [byte]; links out of it are left out."""
    root = folder.resolve()
    return {
        str(path.relative_to(root)): path.stat().st_size
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.resolve().is_file()
    }


def _version_key(version: str) -> list[tuple[int, int, str]]:
    # Numbers by value, words (a release candidate) before them: enough to tell the newest.
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.split(r"[.+_]", version)]


def _check_repo(repo: str) -> None:
    if not _REPO.fullmatch(repo) or ".." in repo:
        raise InputError(f"{repo!r} is no repository", hint="its form is OWNER/NAME")


def _safe(files: dict[str, Remote], repo: str) -> dict[str, Remote]:
    wrong = [path for path in files if not is_safe(path)]
    if wrong:
        raise InputError(f"{repo} lists a path that leaves its folder: {wrong[0]!r}; nothing is fetched")
    return files


def _mapping(told: object, url: str) -> dict[str, Any]:
    if not isinstance(told, dict):
        raise EnvironmentLacking(f"{url} answered with something that is no listing")
    return cast(dict[str, Any], told)


def _list(told: object, url: str) -> list[dict[str, Any]]:
    if not isinstance(told, list):
        raise EnvironmentLacking(f"{url} answered with something that is no listing")
    return [cast(dict[str, Any], entry) for entry in cast(list[object], told) if isinstance(entry, dict)]


def _size(told: object) -> int | None:
    return told if isinstance(told, int) and told >= 0 else None


def _hash(told: object) -> str | None:
    return told.lower() if isinstance(told, str) and re.fullmatch(r"[0-9a-fA-F]{64}", told) else None
