"""A model's versions under any sequence of events, on virtual time."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edgewise.core.errors import Code
from edgewise.core.version_plan import RETRY_CAP_S, ModelVersions
from edgewise.core.versions import All, Latest, Specific, VersionState

VERSIONS = st.integers(min_value=1, max_value=5)
POLICIES = st.one_of(
    st.builds(Latest, st.integers(min_value=0, max_value=3)),
    st.just(All()),
    st.builds(Specific, st.lists(VERSIONS, max_size=3, unique=True).map(tuple)),
)


class VersionsMachine(RuleBasedStateMachine):
    """Files, policies, outcomes of loads and drains come in any order; the plan is carried out after each, as the repository does."""

    @initialize(policy=POLICIES)
    def begin(self, policy):
        self.now_s = 0.0
        self.files = {}
        self.counter = 0
        self.versions = ModelVersions(policy)
        self.loading = set()
        self.draining = set()
        self.answered_once = False
        self.routable = set()
        self.threads = 2

    def states(self):
        return {status.version: status.state for status in self.versions.statuses()}

    def advance(self):
        """Carry out the plan: unloads at once, loads as far as there are threads."""
        wanted = self.versions.aspired()
        before = self.versions.available()
        unloads = self.versions.next_unloads()
        after = before - set(unloads)
        if self.versions.policy is None:
            assert not after
        elif before:
            assert after, "something answered, and nothing would any more"
            assert not set(unloads) & wanted, "a wanted version is not unloaded"
            assert len(after) >= min(len(before), len(wanted)), "a version went before its replacement came"
            assert len(after - {self.versions.default}) <= max(len(wanted), 1), "what is replaced does not stay"
            assert self.versions.default not in unloads, "nothing may answer in place of the default version"
            others = after - wanted - {self.versions.default}
            assert all(gone < kept for gone in unloads for kept in others), "the newest stays longest"
        for version in unloads:
            self.versions.began_unloading(version)
            self.routable.remove(version)
            self.draining.add(version)
        assert self.versions.next_unloads() == []
        while len(self.loading) < self.threads and (due := self.versions.next_loads(self.now_s)):
            assert due[0] in self.files
            assert due[0] not in self.loading | self.draining | self.routable
            self.versions.began_loading(due[0])
            self.loading.add(due[0])

    @rule(threads=st.integers(min_value=0, max_value=2))
    def threads_are_free(self, threads):
        self.threads = threads
        self.advance()

    @rule(version=VERSIONS)
    def files_appear_or_change(self, version):
        self.counter += 1
        self.files[version] = self.counter
        self.versions.observe(self.files)
        self.advance()

    @rule(version=VERSIONS)
    def files_disappear(self, version):
        self.files.pop(version, None)
        self.versions.observe(self.files)
        self.advance()

    @rule(policy=POLICIES)
    def policy_changes(self, policy):
        self.versions.configure(policy)
        self.versions.observe(self.files)
        self.advance()

    @rule(version=st.none() | VERSIONS)
    def default_label_moves(self, version):
        if self.versions.policy is not None:
            self.versions.default = version
            assert version not in self.files or version in self.versions.aspired()
            self.advance()

    @rule()
    def model_is_removed(self):
        self.versions.configure(None)
        self.answered_once = False
        assert self.versions.next_loads(self.now_s) == []
        self.advance()

    @rule(elapsed_s=st.floats(min_value=0.0, max_value=2 * RETRY_CAP_S))
    def time_passes(self, elapsed_s):
        self.now_s += elapsed_s
        self.advance()

    @precondition(lambda self: self.loading)
    @rule(data=st.data())
    def a_load_succeeds(self, data):
        version = data.draw(st.sampled_from(sorted(self.loading)))
        self.loading.remove(version)
        self.versions.loaded(version)
        self.routable.add(version)
        self.answered_once = self.versions.policy is not None
        self.advance()

    @precondition(lambda self: self.loading)
    @rule(data=st.data())
    def a_load_fails(self, data):
        version = data.draw(st.sampled_from(sorted(self.loading)))
        self.loading.remove(version)
        before = set(self.routable)
        self.versions.failed(version, Code.FAILED_PRECONDITION, "broken", self.now_s)
        assert self.versions.available() == before
        if self.versions._records[version].files == self.files.get(version, "none"):
            assert version not in self.versions.next_loads(self.now_s), "a failed version is not retried at once"
        self.advance()

    @precondition(lambda self: self.draining)
    @rule(data=st.data())
    def a_version_has_drained(self, data):
        version = data.draw(st.sampled_from(sorted(self.draining)))
        self.draining.remove(version)
        self.versions.unloaded(version)
        self.advance()

    @invariant()
    def what_is_told_is_so(self):
        if not hasattr(self, "versions"):
            return
        states = self.states()
        assert {version for version, state in states.items() if state is VersionState.AVAILABLE} == self.routable
        assert {version for version, state in states.items() if state is VersionState.LOADING} == self.loading
        assert {version for version, state in states.items() if state is VersionState.UNLOADING} == self.draining
        assert self.versions.available() == self.routable

    @invariant()
    def one_answers_from_the_first_on(self):
        if getattr(self, "answered_once", False):
            assert self.routable

    def teardown(self):
        """Once events stop, the wanted versions answer and no other does."""
        if not hasattr(self, "versions"):
            return
        policy = self.versions.policy or Latest()
        self.versions.configure(policy)
        self.versions.observe(self.files)
        for _ in range(20):
            for version in self.loading:
                self.versions.loaded(version)
            for version in self.draining:
                self.versions.unloaded(version)
            self.draining = set(self.versions.next_unloads())
            for version in self.draining:
                self.versions.began_unloading(version)
            self.loading = set(self.versions.next_loads(self.now_s))
            for version in self.loading:
                self.versions.began_loading(version)
        assert not self.loading
        assert not self.draining
        assert self.versions.settled(self.now_s)
        wanted = self.versions.aspired()
        if wanted:
            assert self.versions.available() - {self.versions.default} == wanted - {self.versions.default}
        else:
            assert len(self.versions.available()) <= 2


VersionsMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_versions = VersionsMachine.TestCase
