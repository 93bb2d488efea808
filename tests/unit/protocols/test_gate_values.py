"""What was counted, as reports and the database have it."""

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.alike import Alike
from edgewise.core.rollout.gates import AccuracyGate, Findings, GateName, Gates, Golden
from edgewise.core.rollout.paired import Paired
from edgewise.core.rollout.sequential import Compared, Observed
from edgewise.protocols.documents import Document
from edgewise.protocols.gate_values import findings_value, gates_value, read_findings, read_gates


def read(value):
    return read_findings(Document("the report", "findings", value))


def test_findings_come_back():
    evidence = (Compared(0.1, 10, 1, 90, 2), Observed(100, 3, 0.02))
    pairs = (Paired("ab" * 32, 100, 3, 4, 16), Paired("cd" * 32, 13, 0, 4, 1, (Alike(1, 1, 0, 1), Alike(4, 3, 1, 0))))
    findings = Findings({GateName.ERRORS: evidence, GateName.ACCURACY: pairs}, Golden(2, 1, 0))
    assert read(findings_value(findings)) == findings


@pytest.mark.parametrize(
    "row",
    [
        ["ab" * 32, 1, 1, 1, 1],
        ["ab" * 32, 1, 0, 0],
        ["../..", 1, 0, 0, 0],
        [0.5, 1, 0, 1, 0],
        ["ab" * 32, 10**6, 0, 0, 0],
        ["ab" * 32, 1, True, 0, 0],
        ["ab" * 32, 4, 0, 1, 0, [[2, 2, 1, 0]]],
        ["ab" * 32, 4, 0, 2, 0, [[2, 1, 1, 0]]],
        ["ab" * 32, 4, 0, 2, 0, [[0, 2, 1, 0]]],
        ["ab" * 32, 4, 0, 2, 0, [[2, 2, 1]]],
        ["ab" * 32, 4, 0, 2, 0, [[2, 2, True, 0]]],
        ["ab" * 32, 4, 0, 2, 0, {"2": 2}],
        "ab",
    ],
)
def test_a_comparison_that_is_none_is_refused(row):
    with pytest.raises(InvalidArgumentError, match=r"findings\.sampled\.accuracy"):
        read({"sampled": {"accuracy": [row]}, "golden": [0, 0, 0]})


def test_gates_come_back_and_older_documents_ask_for_no_accuracy():
    gates = Gates(accuracy=AccuracyGate(0.03, 0.9))
    value = gates_value(gates)
    assert read_gates(Document("the order", "gates", value)) == gates
    del value["accuracy"]
    assert read_gates(Document("the order", "gates", value)) == Gates()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), 10**400, "0.1", None, True])
@pytest.mark.parametrize("counts", [[1, 0], [1, 0, 1, 0]])
def test_a_share_that_is_none_is_refused(share, counts):
    with pytest.raises(InvalidArgumentError, match=r"findings\.sampled\.errors"):
        read({"sampled": {"errors": [[share, *counts]]}, "golden": [0, 0, 0]})
