"""What was counted, as reports and the database have it."""

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.gates import Findings, GateName, Golden
from edgewise.core.rollout.sequential import Compared, Observed
from edgewise.protocols.documents import Document
from edgewise.protocols.gate_values import findings_value, read_findings


def read(value):
    return read_findings(Document("the report", "findings", value))


def test_findings_come_back():
    evidence = (Compared(0.1, 10, 1, 90, 2), Observed(100, 3, 0.02))
    findings = Findings({GateName.ERRORS: evidence}, Golden(2, 1, 0))
    assert read(findings_value(findings)) == findings


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), 10**400, "0.1", None, True])
@pytest.mark.parametrize("counts", [[1, 0], [1, 0, 1, 0]])
def test_a_share_that_is_none_is_refused(share, counts):
    with pytest.raises(InvalidArgumentError, match=r"findings\.sampled\.errors"):
        read({"sampled": {"errors": [[share, *counts]]}, "golden": [0, 0, 0]})
