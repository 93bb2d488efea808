"""Whatever a scenario sweeps, its plan holds each repeat of each cell once, and its names tell cells apart."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edgewise.study import planning
from edgewise.study.cells import PROTOCOLS
from edgewise.study.scenario import GatewaySpec, Inputs, ModelSpec, Outage, RunSettings, Scenario, SiteSpec, Sweep

SITES = (SiteSpec("cloud", "cloud", pooled=3), SiteSpec("edge", "edge"), SiteSpec("attic", "edge", pooled=2))


def some(*words, least=1):
    return st.lists(st.sampled_from(words), min_size=least, max_size=3, unique=True).map(tuple)


SWEEPS = st.builds(
    Sweep,
    targets=some("cloud", "edge", "attic", "gateway"),
    profiles=some("none", "fibre", "4g"),
    models=some("pets", "dogs", "cats"),
    protocols=some(*PROTOCOLS),
    loads=st.lists(st.floats(0.5, 500).map(lambda load: round(load, 1)), min_size=1, max_size=3, unique=True).map(
        tuple
    ),
    batching=st.sampled_from([{}, {"one": {"max_batch_size": 1}, "four": {"max_batch_size": 4}}]),
    outages=st.sampled_from([(), (Outage("calm", ""),), (Outage("calm", ""), Outage("cut", "1s:reset"))]),
    without=some("edge", "gateway", least=0).map(lambda targets: tuple({"target": target} for target in targets)),
)


@given(sweep=SWEEPS, repeats=st.integers(1, 4), seed=st.integers(0, 1 << 53))
def test_a_plan_holds_every_repeat_of_every_cell_once(sweep, repeats, seed):
    scenario = Scenario(
        title="any",
        seed=seed,
        text="",
        run=RunSettings(repeats=repeats),
        models=tuple(ModelSpec(name, name, "pets") for name in sweep.models),
        sites=SITES,
        gateway=GatewaySpec(),
        inputs=Inputs(images=None),
        sweep=sweep,
    )
    cells, runs = planning.cells(scenario), planning.runs(scenario)
    assert Counter((run.cell, run.repeat) for run in runs) == Counter(
        (cell, repeat) for cell in cells for repeat in range(repeats)
    )
    assert len({cell.name for cell in cells}) == len(cells)
    assert all(0 <= run.seed < 1 << 53 for run in runs)
    for cell in cells:
        assert (cell.profile == "") == (cell.target in ("edge", "attic"))
        assert cell.rate == cell.load * {"cloud": 3, "attic": 2}.get(cell.target, 1)
    served = [(run.cell.model, run.cell.batching) for run in runs]
    assert sum(before != after for before, after in pairwise(served)) == max(0, len(set(served)) - 1)
    assert planning.expected_s(scenario) > len(runs) * (scenario.run.duration_s + scenario.run.warmup_s)
