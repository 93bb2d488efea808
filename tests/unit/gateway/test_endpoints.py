"""Endpoints by what the Kubernetes API says of a Service."""

import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.gateway.endpoints import Endpoint, found_in_endpoints, found_in_slices, service_of

REST = {"name": "rest", "port": 8501, "protocol": "TCP"}
GRPC = {"name": "grpc", "port": 8500, "protocol": "TCP"}


def entry(address, uid="", **conditions):
    found = {"addresses": [address], "conditions": conditions}
    if uid:
        found["targetRef"] = {"kind": "Pod", "uid": uid}
    return found


def one_slice(*entries, ports=(REST, GRPC), family="IPv4"):
    return {"addressType": family, "ports": list(ports), "endpoints": list(entries)}


def hosts(found):
    return [endpoint.host for endpoint in found.endpoints]


@pytest.mark.parametrize(
    ("conditions", "taken"),
    [
        ({}, True),
        ({"ready": None, "serving": None, "terminating": None}, True),
        ({"ready": True}, True),
        ({"ready": True, "serving": True, "terminating": False}, True),
        ({"ready": False}, False),
        ({"ready": True, "serving": False}, False),  # published although it is not ready
        ({"ready": False, "serving": True, "terminating": True}, False),
        ({"ready": True, "serving": True, "terminating": True}, False),
    ],
)
def test_who_takes_requests(conditions, taken):
    found = found_in_slices([one_slice(entry("10.0.0.1", **conditions))], "rest")
    assert bool(found.endpoints) is taken
    assert bool(found.unready) is (not taken and not conditions.get("terminating"))


def test_slices_are_merged_and_an_address_that_moves_between_them_counts_once():
    found = found_in_slices(
        [
            one_slice(entry("10.0.0.2", "b", ready=True), entry("10.0.0.1", "a", ready=False)),
            one_slice(entry("10.0.0.1", "a", ready=True), entry("10.0.0.3", "c", ready=True)),
        ],
        "rest",
    )
    assert found.endpoints == tuple(Endpoint(f"10.0.0.{number}", 8501) for number in (1, 2, 3))


def test_one_that_terminates_in_any_slice_takes_nothing():
    terminating = entry("10.0.0.1", "a", ready=False, terminating=True)
    ready = entry("10.0.0.1", "a", ready=True)
    for order in ((terminating, ready), (ready, terminating)):
        assert found_in_slices([one_slice(one) for one in order], "rest").endpoints == ()


def test_a_new_pod_may_have_the_address_of_one_that_terminates():
    found = found_in_slices(
        [one_slice(entry("10.0.0.1", "old", ready=False, terminating=True), entry("10.0.0.1", "new", ready=True))],
        "rest",
    )
    assert hosts(found) == ["10.0.0.1"]


def test_a_pod_with_two_families_is_one_endpoint():
    found = found_in_slices(
        [
            one_slice(entry("fd00::1", "a"), entry("fd00::2", "b"), family="IPv6"),
            one_slice(entry("10.0.0.1", "a")),
        ],
        "rest",
    )
    assert found.endpoints == (Endpoint("10.0.0.1", 8501), Endpoint("fd00::2", 8501))
    assert [str(endpoint) for endpoint in found.endpoints] == ["10.0.0.1:8501", "[fd00::2]:8501"]


def test_when_none_is_ready_those_that_are_still_there_go_on():
    before = tuple(Endpoint(f"10.0.0.{number}", 8501) for number in (1, 2, 3))
    unready, terminating, new = (
        entry("10.0.0.1", "a", ready=False),
        entry("10.0.0.2", "b", ready=False, terminating=True),
        entry("10.0.0.4", "d", ready=False),
    )
    found = found_in_slices([one_slice(unready, terminating, new)], "rest")
    assert [str(one) for one in found.taken_after(before)] == ["10.0.0.1:8501"]
    assert found.taken_after(()) == ()
    # One that is ready is enough.
    found = found_in_slices([one_slice(unready, terminating, entry("10.0.0.4", "d", ready=True))], "rest")
    assert [str(one) for one in found.taken_after(before)] == ["10.0.0.4:8501"]
    # Scaled to nothing.
    assert found_in_slices([one_slice()], "rest").taken_after(before) == ()


def test_without_pods_one_address_may_be_several():
    ports = [{"name": "rest", "port": 8501}], [{"name": "rest", "port": 8502}]
    found = found_in_slices([one_slice(entry("10.0.0.1"), ports=one) for one in ports], "rest")
    assert found.endpoints == (Endpoint("10.0.0.1", 8501), Endpoint("10.0.0.1", 8502))


def test_names_are_no_endpoints():
    assert found_in_slices([one_slice(entry("a.example"), family="FQDN")], "rest").endpoints == ()
    assert found_in_slices([one_slice(entry("a.example"))], "rest").endpoints == ()


@pytest.mark.parametrize(
    ("ports", "port_name", "port"),
    [
        ((REST, GRPC), "rest", 8501),
        ((REST, GRPC), "grpc", 8500),
        (({"name": "http", "port": 80},), "rest", 80),
        (({"name": "", "port": 80},), "rest", 80),
        (({"name": None, "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}), "rest", 80),
        ((), "rest", None),
        (None, "rest", None),
        (({"name": "rest", "port": None},), "rest", None),
    ],
)
def test_which_port(ports, port_name, port):
    found = found_in_slices([{"addressType": "IPv4", "ports": ports, "endpoints": [entry("10.0.0.1")]}], port_name)
    assert [endpoint.port for endpoint in found.endpoints] == ([port] if port is not None else [])


def test_what_ports_there_are_is_told_where_none_can_be_chosen():
    found = found_in_slices([one_slice(entry("10.0.0.1"))], "http")
    assert (found.endpoints, found.no_port) == ((), ("grpc", "rest"))
    assert found_in_slices([one_slice()], "http").no_port == ()


def test_nothing_is_no_error():
    for slices in ([], [{}], [{"addressType": "IPv4", "endpoints": None, "ports": None}]):
        assert found_in_slices(slices, "rest").endpoints == ()
    assert found_in_slices([one_slice({"addresses": []}, {"addresses": None})], "rest").endpoints == ()
    assert found_in_endpoints([{}], "rest").endpoints == ()
    assert found_in_endpoints([{"subsets": None}], "rest").endpoints == ()


def test_the_older_kind():
    found = found_in_endpoints(
        [
            {
                "subsets": [
                    {
                        "addresses": [{"ip": "10.0.0.2"}, {"ip": "10.0.0.1", "targetRef": {"uid": "a"}}],
                        "notReadyAddresses": [{"ip": "10.0.0.3"}],
                        "ports": [REST, GRPC],
                    },
                    {"addresses": [{"ip": "10.0.0.4"}], "ports": [{"name": "rest", "port": 9000}]},
                ]
            }
        ],
        "rest",
    )
    assert found.endpoints == (
        *(Endpoint("10.0.0.1", 8501), Endpoint("10.0.0.2", 8501)),
        Endpoint("10.0.0.4", 9000),
    )
    assert found.unready == (Endpoint("10.0.0.3", 8501),)


ADDRESSES = st.one_of(
    st.integers(1, 6).map(lambda number: ("IPv4", f"10.0.0.{number}")),
    st.integers(1, 6).map(lambda number: ("IPv6", f"fd00::{number}")),
)
CONDITION = st.sampled_from((None, True, False))


@st.composite
def slices(draw):
    found = []
    for _ in range(draw(st.integers(0, 4))):
        family = draw(st.sampled_from(("IPv4", "IPv6")))
        entries = []
        for _ in range(draw(st.integers(0, 5))):
            kind, address = draw(ADDRESSES)
            conditions = {name: draw(CONDITION) for name in ("ready", "serving", "terminating")}
            if kind == family:
                entries.append(entry(address, draw(st.sampled_from(("", "a", "b", "c"))), **conditions))
        found.append(one_slice(*entries, ports=draw(st.permutations((REST, GRPC))), family=family))
    return found


@given(slices(), st.randoms(use_true_random=False))
def test_what_holds_of_any_slices(found, shuffle: random.Random):
    result = found_in_slices(found, "rest")
    entries = [(one, each) for one in found for each in one["endpoints"]]
    usable = {
        each["addresses"][0]
        for _, each in entries
        if each["conditions"]["ready"] is not False and not each["conditions"]["terminating"]
    }
    addresses = hosts(result)
    assert set(addresses) <= usable
    assert not set(result.endpoints) & set(result.unready)
    assert len(set(addresses)) == len(addresses)
    assert list(result.endpoints) == sorted(result.endpoints)
    assert all(ipaddress.ip_address(address) for address in addresses)
    assert all(endpoint.port == 8501 for endpoint in result.endpoints)
    # A pod is asked at one address.
    for uid in ("a", "b", "c"):
        own = {each["addresses"][0] for _, each in entries if each.get("targetRef", {}).get("uid") == uid}
        others = {each["addresses"][0] for _, each in entries if each.get("targetRef", {}).get("uid") != uid}
        assert len((own - others) & set(addresses)) <= 1
    # The order in which the API tells of slices and entries means nothing.
    for one in found:
        shuffle.shuffle(one["endpoints"])
    shuffle.shuffle(found)
    assert found_in_slices(found, "rest") == result


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("model-server", ("model-server", None)),
        ("model-server.edgewise", ("model-server", "edgewise")),
        ("model-server.edgewise.svc", ("model-server", "edgewise")),
        ("Model-Server.edgewise.svc.cluster.local.", ("model-server", "edgewise")),
    ],
)
def test_which_service_a_name_means(host, service):
    assert service_of(host) == service


@pytest.mark.parametrize("host", ["models.example.com", "a.b.c", "-a", "a_b.c", "", ".svc", "a..svc"])
def test_names_that_mean_no_service(host):
    with pytest.raises(ValueError, match="names no Service; expected SERVICE, SERVICE.NAMESPACE"):
        service_of(host)
