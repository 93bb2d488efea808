"""What is written of a specification and of a rollout is read back the same."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.gates import Gate, Gates, LatencyGate
from edgewise.core.rollout.selectors import parse_selector
from edgewise.core.rollout.specification import Canary, OnFailure, Specification
from edgewise.core.rollout.waves import Amount, Wave
from edgewise.hub.store.specification_values import read_specification_value, specification_value

fractions = st.floats(0.001, 0.999)
amounts = st.one_of(st.builds(Amount, count=st.integers(0, 5000)), st.builds(Amount, share=st.floats(0.0, 1.0)))
gates = st.builds(Gate, margin=fractions, confidence=st.floats(0.5, 0.999))
selectors = st.sampled_from(["", "tier=edge", "region in (eu, us),!gpu", "a!=b"]).map(parse_selector)
specifications = st.builds(
    Specification,
    model=st.sampled_from(["pets", "a.b-c_d"]),
    version=st.integers(1, 2**63 - 1),
    waves=st.lists(
        st.builds(
            Wave,
            name=st.text(max_size=20),
            selector=selectors,
            amount=amounts,
            max_concurrent=amounts,
            error_budget=amounts,
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda wave: wave.name,
    ).map(tuple),
    gates=st.builds(
        Gates,
        errors=st.none() | gates,
        latency=st.none()
        | st.builds(
            LatencyGate,
            margin=fractions,
            confidence=st.floats(0.5, 0.999),
            quantile=fractions,
            ratio=st.floats(1.0, 100.0),
        ),
        disagreement=st.none() | gates,
        golden=st.booleans(),
    ),
    canary=st.builds(
        Canary,
        shadow_share=st.floats(0.0, 1.0),
        shadow_s=st.floats(0.0, 1e6),
        shares=st.lists(fractions, max_size=5, unique=True).map(lambda shares: tuple(sorted(shares))),
        stage_s=st.floats(0.0, 1e6),
        bake_s=st.floats(0.0, 1e6),
    ),
    silent_s=st.floats(0.001, 1e6),
    patience_s=st.floats(0.001, 1e6),
    on_failure=st.sampled_from(OnFailure),
    prestage=st.booleans(),
)


@given(specifications)
def test_a_specification_comes_back(specification):
    value = json.loads(json.dumps(specification_value(specification)))
    assert read_specification_value(value, "it") == specification


@pytest.mark.parametrize("amount", [True, "25%", None, []], ids=["a truth value", "a text", "nothing", "a list"])
def test_what_is_no_amount_is_refused(amount):
    value = specification_value(Specification("pets", 1, (Wave("all"),)))
    value["waves"][0]["amount"] = amount
    with pytest.raises(InvalidArgumentError, match="amount"):
        read_specification_value(value, "it")
