import contextlib
import dataclasses

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.protocols.samples import FORMAT, MAX_ANSWER_BYTES, NewerSampleError, Sample, decode_sample, encode_sample

SAMPLE = Sample(
    sample_id="0f" * 16,
    site="garden",
    captured_s=1_800_000_000.25,
    source="door-1",
    model="pets",
    version=2,
    model_digest="ab" * 32,
    answered_by="edge",
    tier="edge",
    reasons=("low-confidence", "drift"),
    priority=2,
    confidence=0.43,
    request_id="r-1",
    form="rest-image",
    content_type="image/jpeg",
    inference_header_length=None,
    signature="",
    request=b"\xff\xd8 a picture",
    answer=b'{"predictions": []}',
    answer_content_type="application/json",
    answer_json_length=17,
    other="cloud",
    other_answer=b"{}",
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"source": "café ☕ \n\t", "confidence": None, "answer": b"", "other": "", "other_answer": b"", "reasons": ()},
        {"request": b"", "version": 0, "model_digest": "", "inference_header_length": 0, "form": "oip-grpc"},
        {"request": bytes(1_000_000), "answer": bytes(MAX_ANSWER_BYTES)},
        {"confidence": 1},
        {"reasons": ("a-rule-of-tomorrow",)},
    ],
)
def test_what_is_encoded_is_decoded(changes):
    sample = dataclasses.replace(SAMPLE, **changes)
    assert decode_sample(encode_sample(sample)) == sample


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_id": "0F" * 16}, "sample_id: found '0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F', expected 32 hexadecimal"),
        ({"priority": 4}, "priority: found 4, expected a whole number in 0..3"),
        ({"form": "soap"}, "form: found 'soap', expected one of rest-image, tfs-rest"),
        ({"source": "x" * 1025}, "expected a string of at most 1024 characters"),
        ({"model_digest": "abc"}, "model_digest: found 'abc', expected a SHA-256"),
        ({"captured_s": float("nan")}, "captured_s: found nan, expected a number"),
        ({"captured_s": -1.0}, "captured_s: found -1.0"),
        ({"confidence": float("inf")}, "confidence: found inf, expected a finite number or null"),
        ({"answer": bytes(MAX_ANSWER_BYTES + 1)}, "an answer of over 65536 bytes; leave it out"),
        ({"source": "\ud800"}, "a text that is not Unicode"),
    ],
)
def test_what_cannot_be_decoded_is_not_encoded(changes, message):
    with pytest.raises(InvalidArgumentError) as caught:
        encode_sample(dataclasses.replace(SAMPLE, **changes))
    assert message in caught.value.message


RECORD = encode_sample(SAMPLE)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"edgewise-sample/2\n" + RECORD[18:], "format edgewise-sample/2, and 1 is the newest"),
        (RECORD.replace(SAMPLE.form.encode(), b"x" * len(SAMPLE.form)), "form: found 'xxxx"),
    ],
)
def test_what_comes_later_is_told_from_what_is_no_sample(record, message):
    with pytest.raises(NewerSampleError, match=message):
        decode_sample(record)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"", "found b'' at the start of a sample, expected b'edgewise-sample/1"),
        (b"edgewise-sample/x\n" + RECORD[18:], "at the start of a sample"),
        (FORMAT, "cut off before its head"),
        (RECORD[:40], "cut off in its head"),
        (RECORD[:-1], "bytes after its head, where the head says"),
        (RECORD + b"x", "bytes after its head, where the head says"),
        (FORMAT + b"\x02\0\0\0{}", "parts: found [], expected three lengths in bytes"),
        (FORMAT + b"\x02\0\0\0[]", "the sample is no JSON object"),
        (FORMAT + b"\x02\0\0\0{{", "the sample is not JSON"),
        (FORMAT + b"\x11\0\0\0" + b'{"parts":[0,0,0]}', "missing, expected"),
        (FORMAT + b"\x12\0\0\0" + b'{"parts":[0,0,-1]}', "expected three lengths in bytes"),
    ],
)
def test_what_is_no_sample(record, message):
    with pytest.raises(InvalidArgumentError) as caught:
        decode_sample(record)
    assert message in caught.value.message


def test_every_damaged_byte_of_a_head_is_a_clear_error_or_another_sample():
    for place in range(len(RECORD)):
        damaged = RECORD[:place] + bytes([RECORD[place] ^ 0x15]) + RECORD[place + 1 :]
        with contextlib.suppress(InvalidArgumentError):
            assert isinstance(decode_sample(damaged), Sample)
