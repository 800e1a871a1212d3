"""Ed25519 keys in PEM files; a key's id is the sha256 of its 32 public bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dougong.errors import EnvironmentLacking, InputError
from dougong.places import config_dir

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_MOST_BYTES = 1 << 16


def _cryptography() -> None:
    try:
        import cryptography  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise EnvironmentLacking(
            "certificates need the package cryptography", hint="pip install 'dougong[verify]'"
        ) from error


def key_id(key: Ed25519PublicKey) -> str:
    """Return the id of a public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def generate(path: Path) -> str:
    """Write a new private key to ``path`` and its public key beside it (``.pub``); return its id.

    Raises
    ------
    InputError
        Where one of the files is there already.
    """
    _cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public_path = path.with_name(path.name + ".pub")
    for each in (path, public_path):
        if each.exists():
            raise InputError(f"{each} is there already", hint="a key is never overwritten; name another file")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {str(path.parent)!r}")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private)
    public_path.write_bytes(public)
    return key_id(key.public_key())


def read_private(path: Path) -> Ed25519PrivateKey:
    """Read a private key.

    Raises
    ------
    InputError
        Where the file holds no Ed25519 key in PEM without a password.
    """
    _cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_content(path), None)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} holds no private key in PEM: {error}", hint="dougong verify keygen FILE"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} holds a key of another kind than Ed25519")
    return key


def read_trusted(places: Iterable[Path]) -> dict[str, Ed25519PublicKey]:
    """Read public keys, by id, from PEM files and from the ``.pub`` and ``.pem`` files of folders."""
    _cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    found: dict[str, Ed25519PublicKey] = {}
    for place in places:
        inside = sorted({*place.glob("*.pub"), *place.glob("*.pem")}) if place.is_dir() else [place]
        for path in inside:
            try:
                key = load_pem_public_key(_content(path))
            except ValueError as error:
                raise InputError(f"{path} holds no public key in PEM: {error}") from error
            if not isinstance(key, Ed25519PublicKey):
                raise InputError(f"{path} holds a key of another kind than Ed25519")
            found[key_id(key)] = key
    return found


def trusted_places() -> list[Path]:
    """Return where the keys that a user trusts are kept; nothing where there is no such folder."""
    folder = config_dir() / "trusted"
    return [folder] if folder.is_dir() else []


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
