"""What operators sign besides releases, as JSON: the policy, and the keys that may sign desired states.

{"format": "edgewise-policy/1", "floors": {"pets": 1}}
{"format": "edgewise-desired-keys/1", "keys": ["d75a9801..."]}
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from edgewise.core.versions import MAX_VERSION, MODEL_NAME
from edgewise.protocols.documents import check_format, document_bytes, read_document

POLICY_FORMAT: Final = "edgewise-policy/1"
KEYS_FORMAT: Final = "edgewise-desired-keys/1"
MAX_DOCUMENT_BYTES: Final = 1 << 20
_MOST_KEYS: Final = 64
_PUBLIC_KEY: Final = re.compile(r"[0-9a-f]{64}")


def encode_policy(floors: Mapping[str, int]) -> bytes:
    """The bytes of a policy.

    Args:
        floors: by model, the version below which no site runs it.
    """
    return document_bytes({"format": POLICY_FORMAT, "floors": dict(floors)})


def decode_policy(content: bytes) -> dict[str, int]:
    """Read a policy.

    Returns: floors by model.
    Raises: InvalidArgumentError: it is none.
    """
    top = read_document(content, "the policy", max_bytes=MAX_DOCUMENT_BYTES)
    check_format(top, POLICY_FORMAT)
    floors = top.names("floors")
    for model in floors:
        if not MODEL_NAME.fullmatch(model):
            raise floors.error(model[:40], "this is no model's name: expected letters, digits, '_', '.', '-'")
    return {model: floors.integer(model, 0, MAX_VERSION) for model in floors}


def encode_desired_keys(keys: Sequence[str]) -> bytes:
    """The bytes of a list of public keys, 64 hexadecimal digits each."""
    return document_bytes({"format": KEYS_FORMAT, "keys": list(keys)})


def decode_desired_keys(content: bytes) -> tuple[str, ...]:
    """Read the keys that may sign desired states.

    Returns: public keys, 64 hexadecimal digits each, at least one.
    Raises: InvalidArgumentError: it is no such list.
    """
    top = read_document(content, "the list of keys", max_bytes=MAX_DOCUMENT_BYTES)
    check_format(top, KEYS_FORMAT)
    expected = f"1 to {_MOST_KEYS} public keys (Ed25519) of 64 hexadecimal digits in lower case"
    keys = top.items("keys", expected)
    if not 0 < len(keys) <= _MOST_KEYS or not all(isinstance(key, str) and _PUBLIC_KEY.fullmatch(key) for key in keys):
        raise top.wrong("keys", keys, expected)
    return tuple(keys)
