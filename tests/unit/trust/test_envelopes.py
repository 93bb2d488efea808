"""DSSE envelopes: opened by those keys only that may sign, as the kind of document that was sealed."""

import base64
import json

import pytest

from edgewise.core.errors import InvalidArgumentError, PermissionDeniedError
from edgewise.trust.envelopes import opened, seal
from edgewise.trust.keys import SigningKey, VerifyingKey

TYPE = "application/vnd.edgewise.report+json"
KEY = SigningKey.generated()
PUBLIC = VerifyingKey(KEY.public_hex)


def open_it(envelope, payload_type=TYPE, keys=(PUBLIC,), max_bytes=1000):
    return opened(envelope, payload_type, keys, what="the report", max_bytes=max_bytes)


def changed(**values):
    return json.dumps({**json.loads(seal(b"{}", TYPE, KEY)), **values}).encode()


def test_there_and_back():
    assert open_it(seal(b"{}", TYPE, KEY)) == b"{}"


def test_what_is_signed_is_what_the_protocol_says():
    # DSSE, protocol.md: PAE(type, body).
    envelope = json.loads(seal(b"hello world", "http://example.com/HelloWorld", KEY))
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    assert PUBLIC.verifies(signature, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world")


def test_any_of_the_keys_suffices():
    other = SigningKey.generated()
    envelope = seal(b"{}", TYPE, other, KEY)
    for key in (KEY, other):
        assert open_it(envelope, keys=[VerifyingKey(key.public_hex)]) == b"{}"


def test_signed_by_anyone_else():
    stranger = SigningKey.generated()
    for envelope in (seal(b"{}", TYPE, stranger), seal(b"{}", TYPE), changed(signatures=[])):
        with pytest.raises(PermissionDeniedError, match="the report is not signed by a key that may sign it"):
            open_it(envelope)
    with pytest.raises(PermissionDeniedError):
        open_it(seal(b"{}", TYPE, KEY), keys=[])


def test_a_strangers_signature_under_our_keys_name():
    stranger = SigningKey.generated()
    signature = json.loads(seal(b"{}", TYPE, stranger))["signatures"][0]
    with pytest.raises(PermissionDeniedError):
        open_it(changed(signatures=[{**signature, "keyid": KEY.key_id}]))


def test_another_payload_under_our_signature():
    with pytest.raises(PermissionDeniedError):
        open_it(changed(payload=base64.b64encode(b"[]").decode()))


def test_a_document_of_one_kind_does_not_pass_for_another():
    envelope = seal(b"{}", "application/vnd.edgewise.desired+json", KEY)
    with pytest.raises(InvalidArgumentError, match=r"of the type 'application/vnd\.edgewise\.desired\+json', expected"):
        open_it(envelope)
    # Nor with the other type written on it.
    with pytest.raises(PermissionDeniedError):
        open_it(json.dumps({**json.loads(envelope), "payloadType": TYPE}).encode())


def test_too_long():
    with pytest.raises(InvalidArgumentError, match="has 1001 bytes; 1000 is the most"):
        open_it(seal(b"x" * 1001, TYPE, KEY))
    with pytest.raises(InvalidArgumentError, match="too many"):
        open_it(b" " * 100_000)
    assert len(open_it(seal(b"x" * 1000, TYPE, KEY))) == 1000


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 60_000,
        b"{}",
        changed(payload=7),
        changed(payload="***"),
        changed(payload="ä"),
        changed(signatures=None),
        changed(signatures={"keyid": "x"}),
        changed(signatures=[7]),
        changed(signatures=[{"keyid": [], "sig": ""}]),
        changed(signatures=[{"keyid": "x", "sig": "*"}]),
        changed(signatures=[{"keyid": "x"}]),
        changed(payloadType=None),
    ],
)
def test_what_is_no_envelope(envelope):
    with pytest.raises(InvalidArgumentError, match="the report"):
        open_it(envelope)
