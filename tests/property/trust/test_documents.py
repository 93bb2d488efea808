"""Signed documents: what was written is read again as it was, and whatever else comes is refused in one way."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.gates import Findings, Gate, GateName, Gates, Golden, LatencyGate
from edgewise.core.rollout.orders import DesiredState, Order
from edgewise.core.rollout.paired import Paired
from edgewise.core.rollout.reports import Inventory, Progress, SampleBacklog, Served, SiteReport
from edgewise.core.rollout.sequential import Compared, Observed
from edgewise.core.rollout.site_state import SiteState
from edgewise.core.rollout.specification import Canary
from edgewise.core.versions import MAX_VERSION
from edgewise.protocols.desired_state import decode_desired, encode_desired
from edgewise.protocols.documents import Document, document_bytes, read_document, time_s, time_text
from edgewise.protocols.gate_values import (
    canary_value,
    findings_value,
    gates_value,
    read_canary,
    read_findings,
    read_gates,
)
from edgewise.protocols.site_report import decode_report, encode_report
from edgewise.protocols.trusted_documents import (
    decode_desired_keys,
    decode_policy,
    encode_desired_keys,
    encode_policy,
)

shares = st.floats(0.0, 1.0, exclude_min=True, exclude_max=True)
seconds = st.floats(0.0, 1e9)
texts = st.text(max_size=50)
versions = st.integers(1, MAX_VERSION)
models = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}", fullmatch=True)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
times = st.integers(0, 253402300799).map(time_text)
gates = st.builds(Gate, margin=shares, confidence=st.floats(0.5, 1.0, exclude_max=True))
all_gates = st.builds(
    Gates,
    errors=st.none() | gates,
    latency=st.none()
    | st.builds(
        LatencyGate,
        margin=shares,
        confidence=st.floats(0.5, 1.0, exclude_max=True),
        quantile=shares,
        ratio=st.floats(1.0, 1e6),
    ),
    disagreement=st.none() | gates,
    golden=st.booleans(),
)
canaries = st.builds(
    Canary,
    shadow_share=st.floats(0.0, 1.0),
    shadow_s=seconds,
    shares=st.sets(shares, max_size=8).map(lambda found: tuple(sorted(found))),
    stage_s=seconds,
    bake_s=seconds,
)


@st.composite
def hits(draw):
    count = draw(st.integers(0, 1 << 50))
    return count, draw(st.integers(0, count))


evidence = st.builds(lambda share, new, old: Compared(share, *new, *old), shares, hits(), hits()) | st.builds(
    lambda found, reference: Observed(*found, reference), hits(), st.floats(0.0, 1.0, exclude_max=True)
)
paired = st.lists(st.integers(0, 1000), min_size=4, max_size=4).map(
    lambda counts: Paired("ab" * 32, sum(counts), *counts[:3])
)
findings = st.builds(
    Findings,
    st.builds(
        lambda known, pairs: known | ({GateName.ACCURACY: pairs} if pairs else {}),
        st.dictionaries(
            st.sampled_from([name for name in GateName if name != GateName.ACCURACY]),
            st.lists(evidence, max_size=4).map(tuple),
            max_size=4,
        ),
        st.lists(paired, max_size=4).map(tuple),
    ),
    st.builds(Golden, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)),
)
orders = st.builds(
    Order,
    rollout=texts,
    model=models,
    version=versions,
    manifest_sha256=digests,
    want=st.sampled_from(Want),
    gates=all_gates,
    canary=canaries,
)
desired_states = st.builds(
    DesiredState,
    site=texts,
    generation=versions,
    expires=times,
    orders=st.lists(orders, max_size=4, unique_by=lambda order: order.model).map(tuple),
)
served = st.builds(
    Served,
    requests=st.integers(0, 1 << 40),
    errors=st.integers(0, 1 << 40),
    p50_ms=st.floats(0, 1e12),
    p99_ms=st.floats(0, 1e12),
)
amounts = st.none() | st.integers(0, 1 << 60)
inventories = st.builds(
    Inventory,
    agent=texts,
    clock=times,
    disk_free_bytes=amounts,
    memory_free_bytes=amounts,
    bandwidth_bytes_per_s=st.none() | st.floats(0, 1e15),
    quota_left_bytes=amounts,
    runtimes=st.dictionaries(texts, texts, max_size=3),
    certificate_expires=times,
    models=st.dictionaries(models, st.lists(versions, max_size=3).map(tuple), max_size=3),
    serving=st.dictionaries(models, versions, max_size=3),
    cloud=st.dictionaries(models, served, max_size=2),
    edge=st.dictionaries(models, served, max_size=2),
    samples=st.none()
    | st.builds(SampleBacklog, *(st.integers(0, 1 << 40) for _ in ("segments", "size_bytes", "held_up"))),
)
progresses = st.builds(
    Progress,
    rollout=texts,
    state=st.sampled_from(SiteState),
    want=st.sampled_from(Want),
    stage=st.integers(0, 1000),
    waiting=st.booleans(),
    findings=findings,
    why=texts,
    bytes_done=st.integers(0, 1 << 60),
    bytes_total=st.integers(0, 1 << 60),
)
reports = st.builds(
    SiteReport,
    site=texts,
    sequence=versions,
    generation=st.integers(0, MAX_VERSION),
    trusted=st.dictionaries(st.sampled_from(["root", "timestamp", "snapshot", "targets"]), versions),
    inventory=inventories,
    rollouts=st.lists(progresses, max_size=3).map(tuple),
)


def attempt(read_it):
    """What was read, and the message when it was refused."""
    try:
        return read_it(), None
    except InvalidArgumentError as error:
        return None, error.message


@given(desired_states)
def test_desired_states_there_and_back(desired):
    assert decode_desired(encode_desired(desired)) == desired


@given(reports)
def test_reports_there_and_back(report):
    assert decode_report(encode_report(report)) == report


@given(all_gates, canaries, findings)
def test_gates_canaries_and_findings_there_and_back(asked, canary, found):
    def through(value):
        return read_document(document_bytes(value), "it", max_bytes=1 << 20)

    assert read_gates(through(gates_value(asked))) == asked
    assert read_canary(through(canary_value(canary))) == canary
    assert read_findings(through(findings_value(found))) == found


@given(st.dictionaries(models, st.integers(0, MAX_VERSION), max_size=5))
def test_policies_there_and_back(floors):
    assert decode_policy(encode_policy(floors)) == floors


@given(st.lists(digests, min_size=1, max_size=5))
def test_keys_there_and_back(keys):
    assert decode_desired_keys(encode_desired_keys(keys)) == tuple(keys)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=10), values, max_size=5))
def test_documents_there_and_back(value):
    content = document_bytes(value)
    document = read_document(content, "it", max_bytes=len(content))
    assert isinstance(document, Document)
    assert list(document) == sorted(value)
    # The same value is the same bytes, in whatever order it was put together.
    assert document_bytes(dict(reversed(value.items()))) == content


@given(st.floats(0, 253402300799))
def test_times_there_and_back(moment_s):
    assert time_s(time_text(moment_s)) == int(moment_s)


@given(st.floats())
def test_of_any_number_there_is_a_time(moment_s):
    assert 0 <= time_s(time_text(moment_s)) <= 253402300799


@given(st.text(max_size=40))
def test_other_texts_are_no_times(text):
    found, refusal = attempt(lambda: time_s(text))
    assert "expected one such as" in refusal if refusal else found >= -62135596800


DESIRED = DesiredState("edge-1", 7, "2026-12-01T00:00:00Z", (Order("pets-2", "pets", 2, "a" * 64, Want.RUN),))
FOUND = Findings(
    {GateName.ERRORS: (Compared(0.5, 9, 1, 9, 2),), GateName.DISAGREEMENT: (Observed(9, 1),)}, Golden(1, 1, 0)
)
REPORT = SiteReport(
    "edge-1",
    3,
    7,
    {"root": 1},
    Inventory(models={"pets": (1, 2)}, serving={"pets": 1}, edge={"pets": Served(1, 0, 1.5, 2.5)}, runtimes={"o": "1"}),
    (Progress("pets-2", SiteState.VERIFYING, Want.RUN, findings=FOUND),),
)
DOCUMENTS = {
    "desired": (decode_desired, encode_desired, encode_desired(DESIRED)),
    "report": (decode_report, encode_report, encode_report(REPORT)),
    "policy": (decode_policy, encode_policy, encode_policy({"pets": 2})),
    "keys": (decode_desired_keys, encode_desired_keys, encode_desired_keys(["a" * 64])),
}
kinds = pytest.mark.parametrize("kind", DOCUMENTS)

# What a program of an enemy may write: numbers beyond every range, halves of characters, what JSON does not have.
strange = st.sampled_from(
    [1e400, -1e400, float("nan"), -0.0, 10**400, -1, 1 << 63, "\ud800", "\0", "", [], {}, [[]], True]
)


def places(value, here=()):
    yield here
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*here, key))


def put(value, place, new):
    if not place:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[place[0]] = put(changed[place[0]], place[1:], new)
    return changed


def refused_or_understood(kind, content):
    decode, encode, _ = DOCUMENTS[kind]
    found, refusal = attempt(lambda: decode(content))
    if refusal is None:
        # What was let in can be written down and read again.
        assert decode(encode(found)) == found
    else:
        assert 0 < len(refusal) < 1000


@kinds
@settings(max_examples=300)
@given(st.data())
def test_a_document_with_anything_put_anywhere(kind, data):
    value = json.loads(DOCUMENTS[kind][2])
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from(list(places(value))))
        value = put(value, place, data.draw(strange | values))
    refused_or_understood(kind, json.dumps(value).encode())


@kinds
@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes(kind, content):
    refused_or_understood(kind, content)


@kinds
@settings(max_examples=200)
@given(st.data())
def test_a_document_with_bytes_changed(kind, data):
    content = bytearray(DOCUMENTS[kind][2])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    refused_or_understood(kind, bytes(content))


@kinds
@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"{}", b"[" * 100_000, b'{"format":' * 50_000, b" " * (5 << 20)]
)
def test_what_is_no_document(kind, content):
    with pytest.raises(InvalidArgumentError):
        DOCUMENTS[kind][0](content)
