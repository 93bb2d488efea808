"""The pets head, better and worse, before the gate that asks both versions the release's held-out photographs."""

import csv
import shutil

import pytest

from edgewise.core.rollout.gates import AccuracyGate, GateName, Gates, Verdict
from edgewise.core.rollout.site_state import SiteState
from edgewise.protocols.heldout import Example, Heldout, heldout_bytes
from support import built_models
from support.site_hub import QUICK
from support.waiting import wait_for

GATE = AccuracyGate(0.15, 0.9)


@pytest.fixture
def versions(tmp_path, images):
    """Makes pets of another number: as it is, or with other words for the same network; with the photographs held out."""
    built = built_models.pets(tmp_path / "built") / "pets" / "1"

    def make(version, *, heldout=True, **words):
        directory = tmp_path / f"v{version}" / "pets" / str(version)
        shutil.copytree(built, directory)
        settings = directory / "model.toml"
        text = settings.read_text()
        # Else a version that is worse would not be loaded at all.
        text = text[: text.index("[[golden]]")] + text[text.index("[signatures.image]") :]
        for before, after in words.values():
            assert before in text
            text = text.replace(before, after)
        settings.write_text(text)
        if heldout:
            (directory / "heldout").mkdir()
            with (images / "labels.csv").open(newline="") as file:
                examples = tuple(Example(row["file"], row["label"]) for row in csv.DictReader(file))
            for example in examples:
                shutil.copy(images / example.file, directory / "heldout")
            (directory / "heldout" / "heldout.json").write_bytes(heldout_bytes(Heldout(examples)))
        return directory

    return make


BLIND_TO_CATS = {"cats": ("threshold = 0.15", "threshold = 1.0")}
ALL_DOGS = {"dogs": ('classes = ["151-268"]\nthreshold = 0.4', 'classes = ["0-280"]\nthreshold = 0.0')}


def test_a_worse_head_answers_nobody_one_without_examples_does_not_pass_and_a_better_one_says_by_how_much(
    node, hub, versions
):
    node.enroll()
    node.start_servers(gateway=False)
    node.start_agent("--adopt", str(versions(1, heldout=False, **BLIND_TO_CATS).parents[1]), "--poll-s", "5")
    wait_for(lambda: "pets" in (node.state / "models.config").read_text())

    def rolled_out(version, state, directory):
        hub.release("pets", version, directory)
        gates = Gates(errors=None, latency=None, accuracy=GATE)
        order = hub.order(model="pets", version=version, rollout=f"pets-{version}", gates=gates, canary=QUICK)
        hub.want(order)
        return hub.wait_for_state(state, rollout=order.rollout)

    worse = rolled_out(2, SiteState.ROLLED_BACK, versions(2, **ALL_DOGS))
    assert worse.why == "gate failed: accuracy"
    (paired,) = worse.findings.sampled[GateName.ACCURACY]
    assert paired.lost > 10
    assert GATE.verdict((paired,)) == Verdict.FAIL
    without = rolled_out(3, SiteState.ROLLED_BACK, versions(3, heldout=False))
    assert without.why == "held-out examples: the release carries none; expected heldout/heldout.json in it"
    # Neither has been given a request.
    assert SiteState.VERIFYING not in {one.state for report in hub.reports() for one in report.rollouts}
    better = rolled_out(4, SiteState.ACTIVE, versions(4))
    (paired,) = better.findings.sampled[GateName.ACCURACY]
    assert (paired.count, paired.lost, paired.gained) == (28, 0, 2)
    assert GATE.verdict((paired,)) == Verdict.PASS
