"""What was sealed opens to the same bytes under the same key; anything else opens to nothing."""

import hashlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from tuf.api.metadata import Root, TargetFile, Targets

from edgewise.core.errors import EdgewiseError, InvalidArgumentError, PermissionDeniedError
from edgewise.hub.trust.acceptance import chain
from edgewise.trust.envelopes import opened, seal
from edgewise.trust.keys import SigningKey, VerifyingKey
from edgewise.trust.tuf_files import check_signed, checked_target_path, moment, public_key, read, sign, stored_path

KEYS = [SigningKey.generated() for _ in range(4)]
MOST = 1 << 16
types = st.text(min_size=1, max_size=40)


@given(st.binary(max_size=2000), types, st.sets(st.sampled_from(KEYS), min_size=1), st.sets(st.sampled_from(KEYS)))
def test_opened_by_who_may_and_no_one_else(payload, payload_type, signers, may):
    envelope = seal(payload, payload_type, *signers)
    keys = [VerifyingKey(key.public_hex) for key in may]
    if signers & may:
        assert opened(envelope, payload_type, keys, what="it", max_bytes=MOST) == payload
    else:
        try:
            opened(envelope, payload_type, keys, what="it", max_bytes=MOST)
            raise AssertionError
        except PermissionDeniedError:
            pass


@given(st.binary(max_size=300), types, types)
def test_types_do_not_run_together(payload, written, wanted):
    envelope = {**json.loads(seal(payload, written, KEYS[0])), "payloadType": wanted}
    keys = [VerifyingKey(KEYS[0].public_hex)]
    try:
        assert opened(json.dumps(envelope).encode(), wanted, keys, what="it", max_bytes=MOST) == payload
        assert written == wanted
    except PermissionDeniedError:
        assert written != wanted


@settings(max_examples=300)
@given(st.data())
def test_a_changed_envelope_opens_to_nothing_else(data):
    envelope = bytearray(seal(b'{"site": "edge-1"}', "type", KEYS[0]))
    for _ in range(data.draw(st.integers(1, 3))):
        envelope[data.draw(st.integers(0, len(envelope) - 1))] = data.draw(st.integers(0, 255))
    keys = [VerifyingKey(KEYS[0].public_hex)]
    try:
        found = opened(bytes(envelope), "type", keys, what="it", max_bytes=MOST)
    except (InvalidArgumentError, PermissionDeniedError):
        return
    assert found == b'{"site": "edge-1"}'


@given(st.binary(max_size=500))
def test_any_bytes_are_no_envelope(content):
    try:
        opened(content, "type", [VerifyingKey(KEYS[0].public_hex)], what="it", max_bytes=MOST)
        raise AssertionError
    except InvalidArgumentError:
        pass


@given(st.text(max_size=70))
def test_any_text_is_a_key_or_refused(text):
    try:
        key = VerifyingKey(text)
    except InvalidArgumentError:
        return
    assert key.public_hex == text.lower()


@given(st.binary(max_size=500), st.sampled_from(KEYS), st.sampled_from(KEYS))
def test_a_signature_is_one_keys(content, signer, other):
    signature = signer.sign(content)
    assert VerifyingKey(other.public_hex).verifies(signature, content) == (other is signer)
    assert not VerifyingKey(signer.public_hex).verifies(signature[:-1], content)


@given(st.sets(st.sampled_from(KEYS)), st.sets(st.sampled_from(KEYS), min_size=1), st.integers(1, 4))
def test_a_threshold_is_met_by_so_many_of_the_keys(signers, named, threshold):
    root = Root(expires=moment(2e9))
    for key in named:
        root.add_key(public_key(key.public_hex), "targets")
    root.roles["targets"].threshold = threshold
    metadata = read(sign(Targets(expires=moment(2e9)), signers), Targets, what="it", max_bytes=MOST)
    try:
        check_signed(root, metadata, what="it")
        assert len(signers & named) >= threshold
    except PermissionDeniedError:
        assert len(signers & named) < threshold


def _roots():
    root = Root(expires=moment(2e9))
    for role in root.roles:
        root.add_key(public_key(KEYS[0].public_hex), role)
    first = sign(root, KEYS[:1])
    root.version += 1
    return [first, sign(root, KEYS[:1])]


ROOTS = _roots()


@settings(max_examples=300)
@given(st.data())
def test_a_changed_root_is_refused_or_means_the_same(data):
    content = bytearray(ROOTS[1])
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        root = chain([ROOTS[0], bytes(content)])
    except EdgewiseError:
        return
    assert root == chain(ROOTS)


@given(st.binary(max_size=300))
def test_any_bytes_are_no_metadata(content):
    try:
        read(content, Root, what="it", max_bytes=MOST)
        raise AssertionError
    except InvalidArgumentError:
        pass


@given(
    st.text(max_size=60), st.text(max_size=70) | st.binary().map(lambda content: hashlib.sha256(content).hexdigest())
)
def test_stored_names_stay_below_their_directory(path, digest):
    try:
        stored = stored_path(TargetFile(1, {"sha256": digest}, path))
    except InvalidArgumentError:
        return
    assert checked_target_path(stored) == stored
    assert stored.replace(f"{digest}.", "", 1) == path
