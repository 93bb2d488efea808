"""Asks the gateway what a picture shows, and reads the answer as the door needs it."""

from dataclasses import dataclass
from typing import Any

from doggy_door.door import Seen
from doggy_door.naming import Naming, OwnNames, doubt_of
from edgewise.client import Client, EdgewiseError, InvalidArgumentError, Prediction

ROUNDING = 0.02
"""Probabilities of a network in int8 may come to so much more than 1."""


@dataclass(frozen=True, slots=True)
class Confidences:
    """How sure the model has to be.

    Attributes:
        dog: at least so much of the probability is on dogs.
        cat: from so much on cats on it counts as a cat, whatever else is on the picture, and where so much may be on cats it is no dog. Far below `dog`:
            a cat that was taken for none is in.
    """

    dog: float = 0.6
    cat: float = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a picture.

    Attributes:
        seen: what it shows; None where there was no answer.
        verdict: the model's own word; "" without an answer.
        dog, cat: probabilities, of those labels that the model gave.
        hidden: so much may be on cats among the labels that it did not give.
        confidence: the model's own, of its likeliest label; None where it says none.
        doubt: why it is no dog though the model takes it for one; "" for no such reason.
        missed: why there was no answer; "" where there was one.
        is_spoiled: the picture itself cannot be used, so nobody failed.
    """

    seen: Seen | None
    verdict: str = ""
    dog: float = 0.0
    cat: float = 0.0
    hidden: float = 0.0
    confidence: float | None = None
    site: str = ""
    tier: str = ""
    version: int | None = None
    attempts: int = 0
    degraded: str = ""
    latency_s: float = 0.0
    doubt: str = ""
    missed: str = ""
    is_spoiled: bool = False


class Asker:
    """Asks for one picture after another.

    Args:
        client: of the gateway, or of a model server.
        model: its name.
        deadline_s: seconds that an answer may take; one that comes later is none.
        route: which site is to be asked; "" leaves it to the gateway.
        source: the name of this door, which goes with each picture.
        confidences: see there.
        names: what the model calls dogs and cats beside the names that are known.
    """

    def __init__(
        self,
        client: Client,
        *,
        model: str,
        deadline_s: float,
        route: str,
        source: str,
        confidences: Confidences,
        names: OwnNames,
    ) -> None:
        self._client = client
        self._model = model
        self._deadline_s = deadline_s
        self._route = route or None
        self._source = source or None
        self._confidences = confidences
        self._naming = Naming(names)

    def ask(self, picture: bytes) -> Answer:
        """What is on a picture; never raises for want of an answer."""
        try:
            answer = self._client.predict(
                self._model, picture, timeout_s=self._deadline_s, route=self._route, source=self._source
            )
        except InvalidArgumentError as error:
            return Answer(None, missed=error.message, is_spoiled=True)
        except EdgewiseError as error:
            return Answer(None, missed=error.message)
        return self._read(answer)

    def _read(self, answer: Prediction) -> Answer:
        verdict = next(iter(_texts(answer, "verdict")), "")
        labels, shares = _texts(answer, "labels"), _numbers(answer, "probabilities")
        if not verdict and not labels:
            return Answer(
                None, missed=f"the model {self._model} gives neither verdict nor labels; is it a model such as pets?"
            )
        known = [self._naming.known(label) for label in labels]
        dog = _sum(known, shares, self._naming.dogs)
        cat = _sum(known, shares, self._naming.cats)
        hidden = hidden_of(known, shares, self._naming.cats)
        seen = seen_of(self._word(verdict), dog=dog, cat=cat, hidden=hidden, confidences=self._confidences)
        doubt = ""
        # Without a name for cats, all of it may be one.
        if not self._naming.has_cats(known, site=answer.site, version=answer.version) and seen is Seen.DOG:
            seen, doubt = Seen.UNSURE, doubt_of(labels)
        return Answer(
            seen,
            verdict=verdict or labels[0],
            dog=dog,
            cat=cat,
            hidden=hidden,
            confidence=answer.confidence,
            site=answer.site,
            tier=answer.tier,
            version=answer.version,
            attempts=answer.attempts,
            degraded=answer.degraded,
            latency_s=answer.latency_s,
            doubt=doubt,
        )

    def _word(self, verdict: str) -> str:
        """A verdict as `seen_of` knows it."""
        name = self._naming.known(verdict)
        return "cat" if name in self._naming.cats else "dog" if name in self._naming.dogs else name


def hidden_of(labels: list[str], shares: list[float], known: frozenset[str]) -> float:
    """The most that can be on labels which the model did not give: none of them has more than the least of those that it gave.

    Args:
        labels, shares: the model's likeliest classes, and their probabilities.
        known: the labels asked about; as many of them as there may be. Spelt as `labels` are.

    Returns: a probability; 1 where the shares are none of one whole.
    """
    is_whole = all(share >= 0 for share in shares) and sum(shares) < 1 + ROUNDING
    if not shares or len(labels) != len(shares) or not is_whole:
        return 1.0
    return max(0.0, min(1.0 - sum(shares), len(known.difference(labels)) * min(shares)))


def seen_of(verdict: str, *, dog: float, cat: float, hidden: float, confidences: Confidences) -> Seen:
    """What a picture shows, as far as the door is concerned; where dog and cat are both possible it is a cat.

    Args:
        verdict: the model's own word; "" where it has none.
        dog, cat: probabilities; anything but a number is taken for the worst.
        hidden: see `Answer`. It makes no cat, but no dog either.
        confidences: from where on they count.
    """
    if verdict == "cat" or not cat < confidences.cat:
        return Seen.CAT
    if verdict in {"dog", ""} and dog >= confidences.dog:
        return Seen.DOG if cat + hidden < confidences.cat else Seen.UNSURE
    return Seen.UNSURE if verdict == "dog" else Seen.NEITHER


def _sum(labels: list[str], shares: list[float], known: frozenset[str]) -> float:
    return sum((share for label, share in zip(labels, shares, strict=False) if label in known), 0.0)


def _texts(answer: Prediction, name: str) -> list[str]:
    array: Any = answer.outputs.get(name, ())
    flat = array.reshape(-1) if hasattr(array, "reshape") else array
    return [one.decode(errors="replace") if isinstance(one, bytes) else str(one) for one in flat]


def _numbers(answer: Prediction, name: str) -> list[float]:
    array = answer.outputs.get(name)
    return [] if array is None else [float(one) for one in array.reshape(-1)]
