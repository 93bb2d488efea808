"""Signed documents: DSSE envelopes with Ed25519 signatures.

    {"payloadType": "application/vnd.edgewise.desired+json", "payload": "<base64>", "signatures": [{"keyid": "9f86...", "sig": "<base64>"}]}

The type is signed with the payload, so a document of one kind cannot pass for another.

Source: Dead Simple Signing Envelope, protocol 1.0.
"""

import base64
import binascii
import json
from collections.abc import Iterable
from typing import Final

from edgewise.core.errors import InvalidArgumentError, PermissionDeniedError
from edgewise.trust.keys import SigningKey, VerifyingKey

_MOST_SIGNATURES: Final = 16


def seal(payload: bytes, payload_type: str, *keys: SigningKey) -> bytes:
    """An envelope around a payload, signed with each key."""
    signed = _signed_bytes(payload, payload_type)
    return json.dumps(
        {
            "payloadType": payload_type,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [{"keyid": key.key_id, "sig": base64.b64encode(key.sign(signed)).decode()} for key in keys],
        }
    ).encode()


def opened(envelope: bytes, payload_type: str, keys: Iterable[VerifyingKey], *, what: str, max_bytes: int) -> bytes:
    """The payload of an envelope that one of the keys signed.

    Args:
        what: as messages call it, such as "the report".
        max_bytes: of the payload.
    Raises:
        InvalidArgumentError: it is no envelope of that type, or too long.
        PermissionDeniedError: none of the keys signed it.
    """
    if len(envelope) > 2 * max_bytes + 65536:
        raise InvalidArgumentError(f"{what} has {len(envelope)} bytes with its envelope, which is too many")
    try:
        value = json.loads(envelope)
        found_type, encoded, signatures = value["payloadType"], value["payload"], value["signatures"]
        payload = base64.b64decode(encoded, validate=True)
        by_key = {one["keyid"]: base64.b64decode(one["sig"], validate=True) for one in signatures[:_MOST_SIGNATURES]}
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        raise InvalidArgumentError(f"{what} is no signed envelope (DSSE)") from None
    if found_type != payload_type:
        raise InvalidArgumentError(f"{what} is of the type {str(found_type)[:100]!r}, expected {payload_type!r}")
    if len(payload) > max_bytes:
        raise InvalidArgumentError(f"{what} has {len(payload)} bytes; {max_bytes} is the most")
    signed = _signed_bytes(payload, payload_type)
    for key in keys:
        signature = by_key.get(key.key_id)
        if signature is not None and key.verifies(signature, signed):
            return payload
    raise PermissionDeniedError(f"{what} is not signed by a key that may sign it")


def _signed_bytes(payload: bytes, payload_type: str) -> bytes:
    """The pre-authentication encoding."""
    name = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)
