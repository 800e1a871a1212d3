"""DSSE envelopes, in the one spelling that each content has: a byte that differs is another envelope.

References
----------
Dead Simple Signing Envelope, protocol v1.0.2, pre-authentication encoding;
in-toto Attestation Framework, Statement v1.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from dougong.verify.certificate.keys import key_id
from dougong.verify.records import canonical

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MOST_BYTES = 1 << 24


class Refused(Exception):
    """A certificate that is not accepted; the text says why."""


def seal(statement: Mapping[str, Any], key: Ed25519PrivateKey) -> bytes:
    """Sign a statement and return the envelope's bytes."""
    payload = canonical(statement)
    signature = key.sign(_encoded(payload))
    envelope = {
        "payload": _to_base64(payload),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key_id(key.public_key()), "sig": _to_base64(signature)}],
    }
    return canonical(envelope) + b"\n"


def unseal(raw: bytes, trusted: Mapping[str, Ed25519PublicKey]) -> tuple[dict[str, Any], str]:
    """Return the statement of an envelope, and the id of the trusted key that signed it.

    Raises
    ------
    Refused
        Where it is no envelope of ours in its one spelling, or no trusted key signed it.
    """
    from cryptography.exceptions import InvalidSignature

    envelope = _object(raw, "the certificate")
    if raw != canonical(envelope) + b"\n":
        raise Refused("the certificate is not in its canonical spelling: it was changed")
    if set(envelope) != {"payload", "payloadType", "signatures"} or envelope["payloadType"] != PAYLOAD_TYPE:
        raise Refused(f"it is no envelope of {PAYLOAD_TYPE}")
    signatures: object = envelope["signatures"]
    if not isinstance(signatures, list) or len(cast("list[object]", signatures)) != 1:
        raise Refused("one signature is wanted")
    signature = cast("list[object]", signatures)[0]
    if not isinstance(signature, dict) or set(cast("dict[str, object]", signature)) != {"keyid", "sig"}:
        raise Refused("a signature has a keyid and a sig")
    by = str(cast("dict[str, object]", signature)["keyid"])
    if by not in trusted:
        raise Refused(f"it is signed by a key that is not trusted here: {by[:16]}…")
    payload = _from_base64(envelope["payload"], "payload")
    try:
        trusted[by].verify(
            _from_base64(cast("dict[str, object]", signature)["sig"], "signature"), _encoded(payload)
        )
    except InvalidSignature:
        raise Refused(
            "the signature is not that of this content: it was changed, or signed by another key"
        ) from None
    statement = _object(payload, "the statement")
    if payload != canonical(statement):
        raise Refused("the statement is not in its canonical spelling")
    return statement, by


def _encoded(payload: bytes) -> bytes:
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _object(raw: bytes, what: str) -> dict[str, Any]:
    if len(raw) > MOST_BYTES:
        raise Refused(f"{what} has more than {MOST_BYTES:,} bytes")
    try:
        found: object = json.loads(raw.decode("utf-8"))
        canonical(found)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{what} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Refused(f"{what} is no JSON object")
    return cast("dict[str, Any]", found)


def _to_base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _from_base64(text: object, what: str) -> bytes:
    if not isinstance(text, str):
        raise Refused(f"the {what} is no text")
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise Refused(f"the {what} is no base64") from error
    if _to_base64(raw) != text:
        raise Refused(f"the {what} is not in its canonical spelling: it was changed")
    return raw
