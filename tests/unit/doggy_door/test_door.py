import numpy as np
import pytest
from doggy_door.asking import Asker, Confidences, seen_of
from doggy_door.door import Door, Rules, Seen, State
from doggy_door.lock_keeper import Grip
from doggy_door.naming import OwnNames

from edgewise.client import Prediction


class Answering:
    """A gateway that gives always the same answer."""

    def __init__(self, outputs):
        self._outputs = {
            name: np.array(values, np.float32 if name == "probabilities" else np.object_)
            for name, values in outputs.items()
        }
        self.version = 1

    def predict(self, model, _picture, **_):
        return Prediction(self._outputs, model, version=self.version)


def asker_of(outputs, **names):
    words = {"model": "pets", "deadline_s": 1.0, "route": "", "source": "", "confidences": Confidences()}
    return Asker(Answering(outputs), **words, names=OwnNames(**names))


def asked(outputs, **names):
    """What the door knows of a picture for which a model gave this."""
    return asker_of(outputs, **names).ask(b"")


def shown(door, *what, from_s, each_s=0.25):
    """What the door makes of pictures, one after another."""
    states = []
    for place, seen in enumerate(what):
        now_s = from_s + place * each_s
        door.see(seen, taken_s=now_s, now_s=now_s)
        states.append(door.state)
    return states


def open_door(**rules):
    door = Door(Rules(**rules), now_s=0.0)
    assert shown(door, Seen.DOG, Seen.DOG, Seen.DOG, from_s=0.0) == [State.SHUT, State.SHUT, State.OPEN]
    return door


def test_three_of_five_dogs_open_and_pictures_between_do_not_matter():
    door = Door(Rules(), now_s=0.0)
    assert shown(door, Seen.DOG, Seen.NEITHER, Seen.DOG, Seen.UNSURE, Seen.DOG, from_s=0.0)[-1] is State.OPEN
    assert door.why == "a dog on 3 of the last 5 pictures"


def test_it_stays_open_while_the_dog_is_seen_and_some_time_after():
    door = open_door(silent_s=10)
    shown(door, *[Seen.DOG, Seen.NEITHER] * 20, from_s=0.75)
    assert door.is_open
    shown(door, *[Seen.NEITHER] * 14, from_s=10.75)
    assert door.is_open
    shown(door, Seen.NEITHER, from_s=14.25)
    assert (door.state, door.why) == (State.SHUT, "no dog was seen for 4 s")


def test_a_dog_that_lies_in_the_way_has_to_be_seen_anew():
    door = open_door(max_open_s=5.0)
    states = shown(door, *[Seen.DOG] * 24, from_s=0.75)
    assert states.index(State.SHUT) == 19
    assert states[19:22] == [State.SHUT, State.SHUT, State.OPEN]


def test_answers_that_fail_to_come_shut_it_and_it_recovers_by_itself():
    door = open_door()
    for now_s in (1.0, 1.5, 1.9):
        door.miss(now_s=now_s)
        assert door.is_open
    door.miss(now_s=2.0)
    assert (door.state, door.why) == (State.SHUT, "nothing was answered for 1.5 s")
    assert shown(door, Seen.DOG, Seen.DOG, Seen.DOG, from_s=60.0)[-1] is State.OPEN


def test_old_pictures_are_no_evidence_but_an_old_cat_is():
    door = Door(Rules(), now_s=0.0)
    for now_s in (10.0, 10.2, 10.4, 10.6):
        assert not door.see(Seen.DOG, taken_s=now_s - 1.1, now_s=now_s)
    assert not door.is_open
    assert not door.see(Seen.CAT, taken_s=1.0, now_s=11.0)
    assert door.state is State.VETO


def test_the_same_picture_again_and_one_from_the_future_do_not_count():
    door = Door(Rules(), now_s=0.0)
    assert [door.see(Seen.DOG, taken_s=1.0, now_s=1.0 + step / 10) for step in range(4)] == [True, False, False, False]
    assert not door.see(Seen.DOG, taken_s=9.0, now_s=1.5)
    assert not door.see(Seen.DOG, taken_s=float("nan"), now_s=1.5)
    assert not door.is_open


def test_what_was_seen_during_a_veto_does_not_open_after_it():
    door = Door(Rules(veto_s=2.0), now_s=0.0)
    shown(door, Seen.CAT, *[Seen.DOG] * 7, from_s=0.0)
    assert shown(door, *[Seen.DOG] * 3, from_s=2.0) == [State.SHUT, State.SHUT, State.OPEN]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"needed": 1}, "needed is 1 of 5 pictures; it must be 2 at least, since one picture may be wrong"),
        ({"needed": 6}, "needed is 6 of 5 pictures"),
        ({"veto_s": 0}, "veto_s is 0; it must be more than 0 seconds"),
        ({"silent_s": float("nan")}, "silent_s is nan"),
    ],
)
def test_rules_that_are_not_safe_are_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        Rules(**rules)


@pytest.mark.parametrize(
    ("verdict", "dog", "cat", "seen"),
    [
        ("dog", 0.9, 0.0, Seen.DOG),
        ("dog", 0.5, 0.0, Seen.UNSURE),
        ("dog", 0.8, 0.15, Seen.CAT),
        ("cat", 0.9, 0.0, Seen.CAT),
        ("other", 0.9, 0.0, Seen.NEITHER),
        ("other", 0.0, 0.1, Seen.CAT),
        ("", 0.9, 0.0, Seen.DOG),
        ("dog", float("nan"), 0.0, Seen.UNSURE),
        ("dog", 0.9, float("nan"), Seen.CAT),
    ],
)
def test_where_a_cat_is_possible_it_is_one(verdict, dog, cat, seen):
    assert seen_of(verdict, dog=dog, cat=cat, hidden=0.0, confidences=Confidences()) is seen


BREEDS = ["Chihuahua", "Japanese spaniel", "Maltese dog", "Pekinese", "Shih-Tzu"]


@pytest.mark.parametrize(
    ("labels", "shares", "hidden", "seen"),
    [
        # Cats at 12 % each may stand behind these five; the network names no more of them.
        (BREEDS, [0.125] * 5, 0.375, Seen.UNSURE),
        (BREEDS, [0.5, 0.04, 0.04, 0.03, 0.03], 0.18, Seen.UNSURE),
        ([*BREEDS[:4], "tabby"], [0.6, 0.1, 0.05, 0.05, 0.03], 0.15, Seen.UNSURE),
        # Six names with 0.4 % at the most, and then no more than is left.
        (BREEDS, [0.9, 0.01, 0.005, 0.005, 0.004], 0.024, Seen.DOG),
        (BREEDS, [0.9, 0.02, 0.02, 0.02, 0.02], 0.02, Seen.DOG),
        # A network of one's own names all its classes.
        (["dog", "other", "cat"], [0.65, 0.3, 0.05], 0.0, Seen.DOG),
        (["dog", "other", "cat"], [0.65, 0.23, 0.12], 0.0, Seen.CAT),
        # A cat stays one, and nothing of a dog stays nothing.
        (["tabby", *BREEDS[:4]], [0.2] * 5, 0.0, Seen.CAT),
        # What cannot be understood opens nothing.
        (BREEDS, [float("nan"), 0.9, 0.0, 0.0, 0.0], 1.0, Seen.UNSURE),
        (BREEDS, [0.9, 0.0, 0.0, 0.0, -0.1], 1.0, Seen.UNSURE),
        (BREEDS, [0.9, 0.9, 0.0, 0.0, 0.0], 1.0, Seen.UNSURE),
        (BREEDS, [0.9, 0.01], 1.0, Seen.UNSURE),
        (BREEDS, [], 1.0, Seen.UNSURE),
    ],
)
def test_where_a_cat_may_be_among_what_was_not_named_it_is_no_dog(labels, shares, hidden, seen):
    answer = asked({"verdict": ["dog"], "labels": [labels], "probabilities": [shares]})
    assert answer.hidden == pytest.approx(hidden, abs=1e-6)
    assert answer.seen is seen
    unnamed = asked({"labels": [labels], "probabilities": [shares]})
    assert unnamed.seen is (seen if answer.dog >= 0.6 or seen is Seen.CAT else Seen.NEITHER)


@pytest.mark.parametrize(
    ("labels", "shares", "cat", "seen"),
    [
        (["Dog", "Cat"], [0.62, 0.38], 0.38, Seen.CAT),
        (["DOG", "Tiger_Cat"], [0.8, 0.2], 0.2, Seen.CAT),
        (["dog", "tabby, tabby cat"], [0.8, 0.2], 0.2, Seen.CAT),
        (["dog", "Cat", "other"], [0.95, 0.03, 0.02], 0.03, Seen.DOG),
        (["Golden_Retriever", *BREEDS[:4]], [0.96, 0.01, 0.01, 0.01, 0.01], 0.0, Seen.DOG),
        (["golden retriever", *BREEDS[:4]], [0.999, 0.0005, 0.0003, 0.0001, 0.0001], 0.0, Seen.DOG),
        (
            ["golden retriever", "tennis ball", "sandbar", "bath towel", "quilt"],
            [0.9, 0.05, 0.02, 0.01, 0.01],
            0.0,
            Seen.DOG,
        ),
    ],
)
def test_a_cat_is_one_however_it_is_spelt(labels, shares, cat, seen):
    for verdict in ({}, {"verdict": ["Dog"]}):
        answer = asked({**verdict, "labels": [labels], "probabilities": [shares]})
        assert (answer.seen, answer.doubt) == (seen, "")
        assert answer.cat == pytest.approx(cat)
    assert asked({"verdict": ["Cat"], "labels": [labels], "probabilities": [shares]}).seen is Seen.CAT


@pytest.mark.parametrize(
    ("labels", "shares"),
    [
        (["dog", "chat"], [0.7, 0.3]),
        (["dog", "housecat"], [0.61, 0.39]),
        (["dog", "housecat"], [0.62, 0.3]),
        (["beagle", "housecat"], [0.99, 0.01]),
        (["dog"], [1.0]),
    ],
)
def test_to_a_model_that_names_no_cat_nothing_is_a_dog(labels, shares):
    outputs = {"verdict": ["dog"], "labels": [labels], "probabilities": [shares]}
    answer = asked(outputs)
    assert answer.seen is Seen.UNSURE
    assert answer.doubt == (
        f"the model has named no class known for a cat yet, only {', '.join(labels)}: name its class with --cat-label, or have "
        "it name more classes (top_k)"
    )
    assert asked(outputs, cat=("cta",)).seen is Seen.UNSURE
    if len(labels) > 1:
        is_cat = shares[1] >= Confidences().cat
        assert asked(outputs, cat=(labels[1].upper(),)).seen is (Seen.CAT if is_cat else Seen.DOG)


def test_a_model_that_has_named_a_cat_need_not_name_it_each_time():
    outputs = {"labels": [["Hund", "fox", "bird"]], "probabilities": [[0.99, 0.004, 0.003]]}
    asker = asker_of(outputs, dog=("hund",))
    assert asker.ask(b"").seen is Seen.UNSURE
    asker._client = Answering({"labels": [["fox", "cat", "bird"]], "probabilities": [[0.97, 0.02, 0.005]]})
    assert asker.ask(b"").seen is Seen.NEITHER
    asker._client = Answering(outputs)
    assert (asker.ask(b"").seen, asker.ask(b"").doubt) == (Seen.DOG, "")
    # Another version has to do so itself.
    asker._client.version = 2
    assert asker.ask(b"").seen is Seen.UNSURE


def test_a_grip_holds_for_one_heartbeat_and_lets_go_on_whatever_it_does_not_know():
    grip = Grip(2.0)
    assert grip.left_s(now_s=0.0) == 0
    grip.tell(b"open", now_s=1.0)
    assert grip.left_s(now_s=2.5) == 0.5
    assert grip.left_s(now_s=3.0) == 0
    grip.tell(b"open", now_s=4.0)
    grip.tell(b"opem", now_s=4.1)
    assert grip.left_s(now_s=4.1) == 0
