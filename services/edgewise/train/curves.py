"""The epochs of a training: what is written down of each, when a stage has gone on long enough, and where the curves part."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from statistics import median
from typing import Any

from edgewise.train.settings import EarlyStopping


@dataclass(frozen=True, slots=True)
class Epoch:
    """What an epoch came to.

    Attributes:
        stage: from 1.
        epoch: from 1, counted through all stages.
        learning_rate: in the mean of its steps.
        loss, accuracy: on what was trained on, in the mean of the epoch's steps, dropout and class weights in it.
        validation_loss, validation_accuracy: at its end, class weights not in it.
        seconds: that it took, validation included.
        images_per_s: that were trained on, without validation.
        peak_memory_bytes: the most memory that the process has had so far.
    """

    stage: int
    epoch: int
    learning_rate: float
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float
    images_per_s: float
    peak_memory_bytes: int


COLUMNS = tuple(one.name for one in fields(Epoch))


def csv_text(epochs: Sequence[Epoch]) -> str:
    """metrics.csv: a line each epoch."""
    lines = [",".join(COLUMNS)]
    lines += [",".join(_number(value) for value in asdict(one).values()) for one in epochs]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def epoch_of(found: dict[str, Any]) -> Epoch:
    """From what `dataclasses.asdict` made of one."""
    return Epoch(**{name: found[name] for name in COLUMNS})


@dataclass(slots=True)
class Watch:
    """Follows the validation loss and says when a stage is over.

    Attributes:
        best_epoch: 0 while there is none.
        waited: epochs of this stage since the loss was last lower.
    """

    rule: EarlyStopping
    best_loss: float = float("inf")
    best_epoch: int = 0
    waited: int = 0

    def begin_stage(self) -> None:
        """A new stage has the whole patience; the best so far stays."""
        self.waited = 0

    def improves(self, epoch: int, loss: float) -> bool:
        """Whether this epoch is the best so far; takes note of it."""
        if loss < self.best_loss - (self.rule.min_delta if self.best_epoch else 0.0):
            self.best_loss, self.best_epoch, self.waited = loss, epoch, 0
            return True
        self.waited += 1
        return False

    @property
    def over(self) -> bool:
        """Whether patience has run out."""
        return 0 < self.rule.patience <= self.waited


def parted(epochs: Sequence[Epoch]) -> int | None:
    """The epoch from which on the curves part: the training loss falls on while the validation loss has begun to rise.

    Returns: the epoch of the least validation loss, counted through all stages; None where they have not parted: it is the last one, or
        the training loss has not fallen since.
    """
    if not epochs:
        return None
    least = min(epochs, key=lambda one: one.validation_loss)
    later = epochs[epochs.index(least) + 1 :]
    # A later stage may let go of more layers and begin with a higher training loss again.
    return least.epoch if any(one.loss < least.loss for one in later) else None


@dataclass(slots=True)
class Pace:
    """What an epoch of a stage takes. TensorFlow makes the network's code at the first step, which may take longer than all that follows.

    Attributes:
        epochs_s: of the stage's epochs so far, since this process began with it.
    """

    epochs_s: list[float] = field(default_factory=list)

    def left_s(self, epochs: float, steps_s: float | None) -> float | None:
        """For so many epochs, which may be a fraction; None where nothing can be told yet.

        Args:
            steps_s: what the steps of the present epoch take in all, by those that are done; None where they are too few.
        """
        usual_s = median(self.epochs_s[1:]) if len(self.epochs_s) > 1 else steps_s
        return None if usual_s is None else max(epochs, 0.0) * usual_s


def duration(seconds: float) -> str:
    """For people: 0.4 s, 45 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
