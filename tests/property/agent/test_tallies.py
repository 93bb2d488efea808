"""However agent and gateway are started anew, what an agent says it has counted was counted, and never twice."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edgewise.agent.site.port import Counts, Reading
from edgewise.agent.site.tally import Tally
from edgewise.core.rollout.gates import Gate, GateName, Gates
from edgewise.core.rollout.sequential import Compared

GATES = Gates(errors=Gate(0.01), latency=None)
HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("requests"), st.integers(0, 50), st.integers(0, 50)),
        st.tuples(st.just("read"), st.just(0), st.just(0)),
        st.tuples(st.just("gateway restarts"), st.just(0), st.just(0)),
        st.tuples(st.just("stage"), st.just(0), st.just(0)),
        st.tuples(st.just("agent restarts"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@given(happenings=HAPPENINGS)
def test_nothing_is_counted_twice(happenings):
    tally = kept = Tally()
    share = 0.25
    counted: dict[str, Counts] = {}
    new = old = 0
    for what, more_new, more_old in happenings:
        key = tally.key("r", 1)
        present = counted.setdefault(key, Counts())
        match what:
            case "requests":
                new, old = new + more_new, old + more_old
                counted[key] = replace(
                    present, new_count=present.new_count + more_new, old_count=present.old_count + more_old
                )
            case "read":
                tally = tally.read(Reading(key, present), share, GATES)
                if tally.epoch != kept.epoch:
                    kept = tally
            case "gateway restarts":
                counted.clear()
            case "stage":
                tally = kept = tally.turned(share, GATES)
                share = min(0.9, share * 1.5)
            case "agent restarts":
                # Counts since the last move are lost, and the gateway knows them under the same key.
                tally = kept
        found = tally.findings(share, GATES).sampled.get(GateName.ERRORS, ())
        compared = [one for one in found if isinstance(one, Compared)]
        assert sum(one.new_count for one in compared) <= new
        assert sum(one.old_count for one in compared) <= old
