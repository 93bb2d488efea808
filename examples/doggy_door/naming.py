"""Which of a model's classes are dogs, which are cats, and whether the model has a class for cats at all."""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

LABELS = Path(__file__).with_name("labels")
_REMEMBERED = 16


@dataclass(frozen=True, slots=True)
class OwnNames:
    """What a network of one's own calls them, beside the names in `labels/`."""

    dog: tuple[str, ...] = ()
    cat: tuple[str, ...] = ()


class Naming:
    """Understands the labels that models give.

    Case does not matter, "_" is a space, and of names with synonyms ("tabby, tabby cat") one is enough.

    Attributes:
        dogs, cats: the known names, as `known` has them.
    """

    def __init__(self, own: OwnNames) -> None:
        self.dogs = frozenset(map(_plain, (*_listed("dog"), *own.dog)))
        self.cats = frozenset(map(_plain, (*_listed("cat"), *own.cat)))
        names = resources.files("edgewise.model_server").joinpath("labels", "imagenet.txt").read_text()
        self._imagenet = frozenset(map(_plain, names.splitlines()))
        # Versions of models that have named a cat; an answer has the likeliest classes only, and the cat need not be one of them.
        self._name_cats: deque[tuple[str, int | None]] = deque(maxlen=_REMEMBERED)

    def known(self, label: str) -> str:
        """A label as it is listed; one that is not, in plain letters."""
        names = [_plain(label), *map(_plain, label.split(","))]
        for listed in (self.cats, self.dogs, self._imagenet):
            if found := next((name for name in names if name in listed), ""):
                return found
        return names[0]

    def has_cats(self, labels: Collection[str], *, site: str, version: int | None) -> bool:
        """Whether a model is one that names cats as cats: it has done so, or its classes are ImageNet's.

        Args:
            labels: of one answer, as `known` has them.
            site, version: which model it was.
        """
        who = (site, version)
        if not self.cats.isdisjoint(labels) and who not in self._name_cats:
            self._name_cats.append(who)
        return who in self._name_cats or (bool(labels) and self._imagenet.issuperset(labels))


def doubt_of(labels: Sequence[str]) -> str:
    """Why nothing is a dog to a model that has no class for cats, for people."""
    return f"the model has named no class known for a cat yet, only {', '.join(labels[:5])}: name its class with --cat-label, or have it name more classes (top_k)"


def _plain(name: str) -> str:
    return name.replace("_", " ").strip().casefold()


def _listed(kind: str) -> Iterable[str]:
    return LABELS.joinpath(f"{kind}.txt").read_text().splitlines()
