"""What has to hold of the door whatever it is shown, and however late that is."""

from dataclasses import dataclass, field

from doggy_door.door import Door, Rules, Seen, State
from hypothesis import assume, given, settings
from hypothesis import strategies as st

SECONDS = st.floats(0.1, 30)


@st.composite
def rules(draw):
    of = draw(st.integers(2, 6))
    names = ("window_s", "veto_s", "hold_s", "max_open_s", "silent_s", "stale_s")
    return Rules(needed=draw(st.integers(2, of)), of=of, **{name: draw(SECONDS) for name in names})


# Dogs far more often than the rest, since nothing ever opens otherwise.
SEEN = st.sampled_from([Seen.DOG] * 12 + [Seen.CAT, Seen.UNSURE, Seen.NEITHER, "miss", "nothing"])
# What happens, how long after what was before, and how old the picture is; a clock may run back.
MOMENTS = st.lists(
    st.tuples(SEEN, st.floats(-0.5, 4) | st.floats(0.01, 0.3), st.just(0.0) | st.floats(-1, 3)), max_size=60
)


@dataclass
class Watched:
    """A door, and what an onlooker notes of it."""

    rules: Rules
    now_s: float = 100.0
    cats: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    dogs: list[float] = field(default_factory=list)
    since_shut: list[float] = field(default_factory=list)
    opened_s: float | None = None

    def __post_init__(self):
        self.door = Door(self.rules, now_s=self.now_s)
        self.clock_s = self.now_s

    def moment(self, what, later_s, age_s):
        self.clock_s += later_s
        self.now_s = max(self.now_s, self.clock_s)
        door = self.door
        door.pass_time(now_s=self.clock_s)
        self.check()
        if what == "nothing":
            return
        if what == "miss":
            door.miss(now_s=self.clock_s)
        else:
            counted = door.see(what, taken_s=self.clock_s - age_s, now_s=self.clock_s)
            if what is Seen.CAT:
                self.cats.append(self.now_s)
                self.since_shut.clear()
            if counted:
                self.answers.append(self.now_s)
            if counted and what is Seen.DOG:
                self.dogs.append(self.now_s)
                self.since_shut.append(self.clock_s - age_s)

    def check(self):
        rules, now_s = self.rules, self.now_s
        if not self.door.is_open:
            if self.opened_s is not None:
                self.since_shut.clear()
            self.opened_s = None
            return
        if self.opened_s is None:
            self.opened_s = now_s
            evidence = [taken_s for taken_s in self.since_shut if taken_s >= now_s - rules.window_s]
            assert len(evidence) >= rules.needed >= 2
            assert len(set(evidence)) == len(evidence)
        assert all(now_s - cat_s >= rules.veto_s for cat_s in self.cats)
        assert now_s - self.opened_s < rules.max_open_s
        assert now_s - self.answers[-1] < rules.silent_s
        assert now_s - self.dogs[-1] < rules.hold_s


@settings(max_examples=200)
@given(rules(), MOMENTS)
def test_it_is_open_only_for_a_dog_that_is_there(rules, moments):
    watched = Watched(rules)
    assert not watched.door.is_open
    for moment in moments:
        watched.moment(*moment)
        watched.check()


@given(rules(), MOMENTS)
def test_a_cat_shuts_at_once_and_nothing_opens_while_its_veto_lasts(rules, moments):
    door = Door(rules, now_s=0.0)
    now_s = 0.0
    for number in range(rules.needed):
        now_s = number * 1e-3
        door.see(Seen.DOG, taken_s=now_s, now_s=now_s)
    assert door.is_open
    door.see(Seen.CAT, taken_s=now_s - 1000, now_s=now_s)
    assert door.state is State.VETO
    until_s = now_s + rules.veto_s
    for what, later_s, _ in moments:
        now_s += max(later_s, 0.0)
        if what is not Seen.CAT and now_s < until_s:
            door.see(what if isinstance(what, Seen) else Seen.DOG, taken_s=now_s, now_s=now_s)
            assert not door.is_open


@given(rules(), MOMENTS)
def test_one_dog_among_pictures_without_one_never_opens(rules, moments):
    door = Door(rules, now_s=0.0)
    now_s = 0.0
    for place, (what, later_s, _) in enumerate(moments):
        now_s += max(later_s, 0.001)
        if place % rules.of == 0:
            door.see(Seen.DOG, taken_s=now_s, now_s=now_s)
        elif what == "miss":
            door.miss(now_s=now_s)
        else:
            door.see(Seen.UNSURE, taken_s=now_s, now_s=now_s)
        assert not door.is_open


@given(rules(), st.floats(0, 1000))
def test_it_shuts_by_itself_when_nothing_is_heard(rules, wait_s):
    door = Door(rules, now_s=0.0)
    for number in range(rules.needed):
        now_s = number * 1e-3
        door.see(Seen.DOG, taken_s=now_s, now_s=now_s)
    longest_s = min(rules.silent_s, rules.hold_s, rules.max_open_s)
    assume(abs(wait_s - longest_s) > 1e-6)
    door.pass_time(now_s=now_s + wait_s)
    assert door.is_open is (wait_s < longest_s)
    door.miss(now_s=now_s + longest_s + 1e-6)
    assert not door.is_open
