"""Whatever happens, in whatever order: what is in memory is what the store has, and a site's generation never falls."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edgewise.core.errors import EdgewiseError
from edgewise.core.rollout.events import Verb, Want
from edgewise.core.rollout.gates import Findings, GateName, Golden
from edgewise.core.rollout.sequential import Compared
from edgewise.core.rollout.site_state import AGENT_STATES
from edgewise.hub.control.known import Known
from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.store.store import Store
from edgewise.trust.keys import SigningKey
from support.control_world import OPERATOR, Site, manifest_sha256, release

NAMES = ("alpha", "beta", "gamma")
ROLLOUTS = tuple(f"r{number}" for number in range(4))
WAVES = (
    "waves: [{name: all, at_once: 100%}]\n",
    "waves: [{name: one, take: 1}, {name: rest, at_once: 1, may_fail: 1}]\n",
    "prestage: false\non_failure: pause\nwaves: [{name: all, at_once: 50%}]\n",
)
states = st.sampled_from(sorted(AGENT_STATES))
findings = st.builds(
    lambda count, hits, wrong: Findings(
        {GateName.ERRORS: (Compared(0.5, count, min(hits, count), count, 0),)}, Golden(1, 1, wrong)
    ),
    st.integers(0, 500),
    st.integers(0, 50),
    st.integers(0, 1),
)


class Hub(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        # In memory where that is possible: no power is lost here.
        self.directory = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.now_s = 1_800_000_000.0
        self.key = SigningKey.generated()
        self.plane = self.opened()
        self.sites = {
            name: Site(name, lambda method, *words, **more: getattr(self.plane, method)(*words, **more))
            for name in NAMES
        }
        for site in self.sites.values():
            site.join()
        for version in (1, 2):
            made = release(version)
            self.plane.add_release(made, manifest_sha256(made), OPERATOR)
        self.generations = dict.fromkeys(NAMES, 0)

    def opened(self):
        return ControlPlane(Store(f"sqlite:///{self.directory}/hub.db"), self.key, clock=lambda: self.now_s)

    def teardown(self):
        self.plane.close()
        shutil.rmtree(self.directory)

    @rule(name=st.sampled_from(ROLLOUTS), version=st.integers(1, 2), waves=st.sampled_from(WAVES), start=st.booleans())
    def begin(self, name, version, waves, start):
        text = f"model: pets\nversion: {version}\n{waves}gates: {{latency: off}}\nsilent_after: 20s\n"
        self.tried(
            lambda: self.plane.create_rollout(text, "yaml", name=name, actor=OPERATOR, now_s=self.now_s, start=start)
        )

    @rule(name=st.sampled_from(ROLLOUTS), verb=st.sampled_from(Verb))
    def command(self, name, verb):
        self.tried(lambda: self.plane.command(name, verb, "", OPERATOR, self.now_s))

    @rule(name=st.sampled_from(NAMES))
    def step(self, name):
        self.tried(lambda: self.sites[name].step(self.now_s))

    @rule(
        name=st.sampled_from(NAMES),
        rollout=st.sampled_from(ROLLOUTS),
        state=states,
        want=st.sampled_from(Want),
        found=findings,
    )
    def say_anything(self, name, rollout, state, want, found):
        site = self.sites[name]
        site.findings = found
        self.tried(lambda: site.say(self.now_s, rollout, state, want, waiting=found.golden.wrong == 0))

    @rule(seconds=st.integers(1, 25))
    def wait(self, seconds):
        self.now_s += seconds
        self.plane.tick(self.now_s)

    @rule()
    def restart(self):
        self.plane.close()
        self.plane = self.opened()

    @rule(name=st.sampled_from(NAMES))
    def come_and_go(self, name):
        if self.tried(lambda: self.plane.retire_site(name, OPERATOR)):
            return
        self.sites[name].sequence = 0
        self.sites[name].join()

    @invariant()
    def memory_is_what_the_store_has(self):
        books = self.plane._books
        with books.reading() as connection:
            kept = Known(connection, self.now_s)
        assert told(books.known) == told(kept)

    @invariant()
    def a_site_has_one_order_of_a_rollout_that_it_answers_to_or_none_newer(self):
        known = self.plane._books.known
        for name, site in known.sites.items():
            assert site.generation >= self.generations[name]
            self.generations[name] = site.generation
            for order in known.told(name).values():
                running = known.running.get(order.rollout)
                if running is None:
                    continue
                view = running.machine.glance().sites[name]
                assert view.want == order.want

    def tried(self, do):
        try:
            do()
        except EdgewiseError:
            return False
        return True


def told(known):
    """All that decides, apart from moments and what nobody answers to."""
    running = {
        name: (
            replace(one.machine.view(), sites={}, waves=()),
            {site: replace(view, heard_s=None) for site, view in one.machine.glance().sites.items()},
            [replace(wave, since_s=0.0) for wave in one.machine.glance().waves],
            one.standing,
            one.head,
        )
        for name, one in known.running.items()
    }
    sites = {name: replace(site, heard_s=None) for name, site in known.sites.items()}
    orders = {name: orders for name, orders in known.orders.items() if orders}
    listening = {name: {one.head.name for one in known.answering(name)} for name in known.sites}
    return running, sites, orders, known.releases, known.tokens, listening


TestHub = Hub.TestCase
TestHub.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
