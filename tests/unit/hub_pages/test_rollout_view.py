from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from edgewise.core.rollout.alike import Alike
from edgewise.core.rollout.gates import AccuracyGate, Findings, Gate, GateName, Gates
from edgewise.core.rollout.paired import Paired
from edgewise.core.rollout.site_state import SiteState
from edgewise.core.rollout.specification import Canary, Specification
from edgewise.core.rollout.waves import Wave
from edgewise.hub.console.rollout_text import gate_lines
from edgewise.hub.control import shown
from edgewise.hub.control.status import GateStatus, RolloutSiteStatus, RolloutStatus, WaveStatus
from edgewise.hub.pages import rollout_view

SPECIFICATION = Specification(
    "pets",
    2,
    (Wave("canary"), Wave("everyone")),
    gates=Gates(disagreement=Gate(0.02)),
    canary=Canary(shadow_share=0.05, shares=(0.01, 0.1, 0.5)),
)


def site(name="edge-1", state="Active", *, wave=0, **changes):
    values = {
        "site": name,
        "tier": "edge",
        "wave": wave,
        "state": state,
        "was": "",
        "want": "run",
        "acting": "run",
        "why": "",
        "waiting": False,
        "stage": 0,
        "stages": 5,
        "bytes_done": 0,
        "bytes_total": 0,
        "heard_s": 1.0,
        "gates": (),
    }
    return RolloutSiteStatus(**{**values, **changes})


def rollout(*sites, state="Progressing", phases=("open", "waiting"), gates=()):
    waves = []
    for number, phase in enumerate(phases):
        inside = [one for one in sites if one.wave == number]
        waves.append(
            WaveStatus(
                number=number,
                name=SPECIFICATION.waves[number].name,
                selector="",
                phase=phase,
                verdict="Inconclusive",
                promoted=False,
                since_s=0.0,
                sites=len(inside),
                states=dict(Counter(one.state for one in inside)),
                failed=0,
                may_fail=0,
                at_once=1,
                gates=gates,
            )
        )
    return RolloutStatus(
        name="pets-2-k3f9",
        model="pets",
        version=2,
        state=state,
        why="",
        revision=1,
        created_s=0.0,
        created_by="anna",
        changed_s=0.0,
        specification="",
        form="yaml",
        verbs=(),
        waves=tuple(waves),
        sites=sites,
    )


def gate(name, **changes):
    values = {
        "gate": name,
        "verdict": "Inconclusive",
        "margin": 0.01,
        "confidence": 0.99,
        "low": -0.004,
        "high": 0.014,
        "new_count": 1204,
        "new_hits": 7,
        "old_count": 10320,
        "old_hits": 55,
    }
    return GateStatus(**{**values, **changes})


def cell(one):
    (wave, _) = rollout_view.waves(rollout(one), SPECIFICATION)
    (found,) = wave.cells
    return found


@pytest.mark.parametrize(
    ("stage", "does"),
    [
        (0, "asked beside the old version (5 %)"),
        (1, "answers 1 % of the requests"),
        (2, "answers 10 % of the requests"),
        (4, "answers everything, is watched"),
        (99, "answers everything, is watched"),
    ],
)
def test_a_site_that_verifies_says_how_much_the_new_version_answers(stage, does):
    assert cell(site(state="Verifying", stage=stage)).does == does


def test_a_site_that_waits_says_for_what():
    assert cell(site(state="Verifying", stage=3, waiting=True)).does.endswith("; waits for more evidence")


def test_a_site_that_fetches_says_how_far_it_is():
    assert cell(site(state="Downloading", bytes_done=3_400_000, bytes_total=4_700_000)).does == "3.4 MB of 4.7 MB"
    assert cell(site(state="Downloading")).does == ""


def test_a_silent_site_says_where_it_was():
    assert cell(site(state="Unreachable", was="Verifying")).does == "was Verifying"
    assert cell(site(state="Unreachable", was="")).does == "enrolled, not heard of yet"


def test_what_a_site_was_told_and_has_not_heard_is_said():
    assert cell(site(state="Active", want="back", acting="run")).told == "told to go back"
    assert cell(site(state="Active", want="run", acting="run")).told == ""
    assert cell(site(state="Superseded", want="run", acting="nothing")).told == ""


def test_few_sites_keep_their_places_by_name():
    names = [f"edge-{number}" for number in range(9)]
    states = ["Failed", "Active", "Pending"] * 3
    wave, _ = rollout_view.waves(rollout(*map(site, reversed(names), states)), SPECIFICATION)
    assert [one.site.site for one in wave.cells] == names
    assert wave.hidden == 0


def test_of_many_sites_those_in_trouble_are_seen_first_and_the_others_can_be_asked_for():
    sites = [site(f"edge-{number:03}") for number in range(300)]
    sites[277] = site("edge-277", "Failed")
    sites[133] = site("edge-133", "Verifying")
    wave, _ = rollout_view.waves(rollout(*sites), SPECIFICATION)
    assert [one.site.site for one in wave.cells[:3]] == ["edge-277", "edge-133", "edge-000"]
    assert len(wave.cells) + wave.hidden == 300
    pages = [rollout_view.waves(rollout(*sites), SPECIFICATION, wanted=0, page=page)[0] for page in (1, 2, 77)]
    assert [(one.page, one.pages) for one in pages] == [(1, 2), (2, 2), (2, 2)]
    shown = {one.site.site for page in pages for one in page.cells}
    assert shown == {one.site for one in sites}


def test_the_bar_is_as_long_as_its_parts_whatever_the_states():
    found = rollout_view.parts({state.value: number + 1 for number, state in enumerate(SiteState)})
    assert {part.state for part in found} == set(SiteState)
    assert found[0].start == 0.0
    for one, after in pairwise(found):
        assert after.start == pytest.approx(one.start + one.width)
    assert found[-1].start + found[-1].width == pytest.approx(100.0)
    assert rollout_view.parts({}) == ()


def test_a_gate_says_what_it_asks_and_what_is_known():
    row = rollout_view.gate_row(gate("errors"), SPECIFICATION.gates)
    assert row.asks == "at most 1 % more of the answers are errors than of the old version's"
    assert row.counts == "new 7 of 1,204, old 55 of 10,320"
    assert row.interval.text == "−0.4 % to +1.4 %"
    assert -1.0 < row.interval.low < 0.0 < row.interval.margin < row.interval.high < 1.0


def test_slow_is_said_with_its_measure():
    asks = rollout_view.gate_row(gate("latency", margin=0.05), SPECIFICATION.gates).asks
    assert asks == "at most 5 % more of the answers are slow, longer than 1.25 × the old version's 95 % quantile"


def test_an_interval_is_cut_off_at_the_ends_of_its_picture():
    row = rollout_view.gate_row(gate("errors", low=-0.9, high=0.9), SPECIFICATION.gates)
    assert (row.interval.low, row.interval.high) == (-1.0, 1.0)
    assert row.interval.text == "−90 % to +90 %"


def test_where_nothing_is_known_nothing_is_drawn_as_if_it_was():
    nothing = gate("errors", low=None, high=None, new_count=0, new_hits=0, old_count=0, old_hits=0)
    row = rollout_view.gate_row(nothing, SPECIFICATION.gates)
    assert row.interval is None
    assert row.counts == "no requests yet"
    assert rollout_view.gate_row(gate("errors", low=-1.0, high=1.0), SPECIFICATION.gates).interval.text == (
        "nothing known yet"
    )


def test_golden_inputs_are_no_sample():
    golden = gate("golden", margin=None, confidence=None, low=None, high=None, new_count=3, new_hits=1)
    row = rollout_view.gate_row(golden, SPECIFICATION.gates)
    assert row.counts == "asked at 3 sites, 1 answer wrong"
    assert row.interval is None


def test_what_is_said_aloud_is_short_however_many_sites_there_are():
    said = rollout_view.spoken(rollout(*(site(f"edge-{number}") for number in range(1000))))
    assert said == "pets-2-k3f9 is Progressing. Wave canary: 1,000 of 1,000 sites Active."
    ended = rollout(state="Completed", phases=("passed", "passed"))
    assert rollout_view.spoken(ended) == "pets-2-k3f9 is Completed."


def test_only_what_waits_for_a_person_needs_one():
    assert rollout_view.needs_person(rollout(state="Paused")).startswith("paused")
    assert rollout_view.needs_person(rollout(state="Failed"))
    for state in ("Planned", "Progressing", "Completed", "Aborting", "RolledBack"):
        assert rollout_view.needs_person(rollout(state=state)) == ""


def test_accuracy_is_told_in_right_answers():
    gates = Gates(errors=None, latency=None, golden=False, accuracy=AccuracyGate())
    pairs = (Paired("f" * 64, 100, 3, 4, 16), Paired("8" * 64, 100, 3, 0, 20))
    (found,) = shown._gates(gates, Findings({GateName.ACCURACY: pairs}), judged=True, bounded=True)
    specification = replace(SPECIFICATION, gates=gates)
    (view, _) = rollout_view.waves(rollout(site(), gates=(found,)), specification)
    line = gate_lines(view.gates, "")[1]
    assert line.split()[:2] == ["accuracy", "Pass"]
    # The comparison that decides, and no picture twice.
    assert "right: old 81 of 100, new 93 of 100 (+12 %)" in line
    assert "at most 2 % more of the held-out examples are answered wrongly than by the old version" in line
    nights = Paired("f" * 64, 100, 3, 0, 40, (Alike(20, 5, 0, 2),))
    (found,) = shown._gates(gates, Findings({GateName.ACCURACY: (nights,)}), judged=True, bounded=True)
    (view, _) = rollout_view.waves(rollout(site(), gates=(found,)), specification)
    assert "right: old 57 of 100, new 97 of 100 (+40 %) of 20 sources" in gate_lines(view.gates, "")[1]
    (nothing,) = shown._gates(gates, Findings(), judged=True, bounded=True)
    (view, _) = rollout_view.waves(rollout(site(), gates=(nothing,)), specification)
    assert "no examples asked yet" in gate_lines(view.gates, "")[1]
