"""The job and the outcome of MLPerf's process, as text."""

import json

import pytest

from edgewise.study.engine.job import Asking, Question
from edgewise.study.mlperf_port import (
    MlperfJob,
    MlperfOutcome,
    decode_job,
    decode_line,
    encode_job,
    encode_limit,
    encode_outcome,
)


def a_job(**changes):
    asking = Asking(
        "http",
        "127.0.0.1",
        8501,
        "/v1/models/tiny:predict",
        [Question(bytes(range(256)), "cat", "cat.jpg"), Question(b"")],
        headers=[("x-request-id", "1")],
        content_type="image/jpeg",
    )
    fields = {
        "scenario": "Server",
        "accuracy": False,
        "asking": asking,
        "directory": "logs",
        "name": "tiny at edge",
        "target_qps": 12.5,
        "target_latency_ms": 20.0,
        "min_duration_s": 1.0,
        "min_queries": 64,
        "timeout_s": 2.0,
        "window": 32,
    }
    return MlperfJob(**{**fields, **changes})


def test_a_job_comes_back_as_it_was():
    job = a_job()

    assert decode_job(encode_job(job)) == job


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"asking": {"questions": []}}', b"\xff"])
def test_what_is_no_job_is_refused(text):
    with pytest.raises(ValueError, match="no job of MLPerf's load generator"):
        decode_job(text)


def test_a_job_with_a_body_that_is_no_base64_is_refused():
    told = json.loads(encode_job(a_job()))
    told["asking"]["questions"][0]["body"] = "*"

    with pytest.raises(ValueError, match="no job"):
        decode_job(json.dumps(told).encode())


def test_an_outcome_comes_back_as_it_was():
    outcome = MlperfOutcome("run", samples=100, failed=3, failures={"HTTP 503: busy\n": 3}, duration_s=1.5, lone_ms=0.2)

    line = encode_outcome(outcome)

    assert line.count(b"\n") == 1
    assert decode_line(line) == outcome


def test_a_limit_comes_back_as_it_was():
    assert decode_line(encode_limit(12.5)) == 12.5


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[1]", b"loadgen says", b'{"outcome": {"unknown": 1}}', b'{"limit_s": "x"}']
)
def test_another_line_is_refused(line):
    with pytest.raises(ValueError, match="no line of MLPerf's load generator"):
        decode_line(line)
