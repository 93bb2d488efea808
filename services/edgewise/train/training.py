"""Trains a network: stage after stage, each from the best weights so far, with a checkpoint each epoch.

What is drawn (the order of the pictures, the weights of a new head) depends on the seed and the epoch only, so that a training that was
stopped and goes on sees what it would have seen.
"""

import resource
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.core.errors import FailedPreconditionError
from edgewise.protocols.dataset_manifest import SPLITS, TEST, TRAIN, VALIDATION, Dataset, read_dataset
from edgewise.train import ancestry, describing, networks, pictures
from edgewise.train.checkpoints import Checkpoint, Checkpoints
from edgewise.train.curves import Epoch, Pace, Watch, csv_text, duration, epoch_of, parted
from edgewise.train.evaluation import Evaluation, evaluate
from edgewise.train.run_directory import FINISHED, RunDirectory, check_new, check_same, held
from edgewise.train.settings import FROM_SCRATCH, Stage, TrainSettings
from edgewise.train.stage_model import Examples, StageModel, predict, stage_model
from edgewise.train.steps import Lesson, train_epoch
from edgewise.trust.durable_files import write_durably

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training came to.

    Attributes:
        epochs: in their order, with the validation curve.
        accuracy: on the test split.
        best_epoch: whose weights are kept.
        parted: the epoch from which the curves part, None where they do not.
        seconds: of all epochs.
        seconds_an_epoch, images_per_s: in the mean of the epochs.
        peak_memory_bytes: of this process.
        parameters: of the network.
    """

    epochs: tuple[Epoch, ...]
    evaluation: Evaluation
    best_epoch: int
    parted: int | None
    seconds: float
    parameters: int
    out: Path

    @property
    def accuracy(self) -> float:
        """On the test split."""
        return self.evaluation.accuracy

    @property
    def validation_accuracy(self) -> float:
        """Of the epoch whose weights are kept."""
        return self.epochs[self.best_epoch - 1].validation_accuracy

    @property
    def seconds_an_epoch(self) -> float:
        """In the mean."""
        return self.seconds / len(self.epochs)

    @property
    def images_per_s(self) -> float:
        """That were trained on, in the mean over the time that training took."""
        return len(self.epochs) / sum(1.0 / one.images_per_s for one in self.epochs)

    @property
    def peak_memory_bytes(self) -> int:
        """Of the process."""
        return max(one.peak_memory_bytes for one in self.epochs)


def train(
    settings: TrainSettings,
    dataset: Path,
    out: Path,
    tell: Tell,
    *,
    resume: bool = False,
    spec: str = "",
    progress: Tell | None = None,
) -> TrainResult:
    """Train a network on a dataset and write everything of it into a directory.

    Args:
        dataset: a directory that `edgewise data build` made.
        out: made when it is not there.
        tell: a line for what is worth keeping: each epoch, each stage.
        resume: go on with the training in `out`; one that has finished is left as it is.
        spec: the specification's text, kept as spec.toml.
        progress: where it stands, called often.

    Returns: what came out; plots and report are for `reporting.write`.

    Raises:
        NotFoundError: there is no dataset, or no training to go on with.
        InvalidArgumentError: nothing can be learned from the dataset, or the weights are of another network.
        AlreadyExistsError: `out` holds a training and `resume` is False.
        FailedPreconditionError: the weights have learned from pictures of test or validation, a disk is full, the loss is no number any more, or something that is needed is missing or damaged.
    """
    found = read_dataset(dataset)
    pictures.check(found, settings)
    # A training that goes on began from what it says, which may be gone by now.
    weights = None if resume else ancestry.begun_from(settings, found)
    with held(out) as directory:
        if resume:
            before = check_same(directory, settings.digest, found.digest)
            if before["state"] == FINISHED and directory.model.is_file() and directory.saved_model.is_dir():
                tell(f"the training in {out} has finished already")
                return _result_before(before, found, out)
            # What the network was begun with, also where the weights that said so are gone.
            shown, weights = pictures.view_of(before), before.get("begun_from")
        else:
            check_new(directory)
            shown = pictures.view(networks.NETWORKS[settings.network], settings, found)
        try:
            return _Training(settings, (dataset, found), shown, directory, (tell, progress or _nothing)).run(
                spec, weights
            )
        except OSError as error:
            raise FailedPreconditionError(
                f"{error.filename or out} cannot be written or read: {error.strerror or error}; what was trained so far is kept, go on with --resume"
            ) from error


def _nothing(_text: str) -> None:
    """For who wants no progress."""


def _result_before(found: Mapping[str, Any], dataset: Dataset, out: Path) -> TrainResult:
    """The result of a training that had finished, by its run.json."""
    return TrainResult(
        epochs=tuple(epoch_of(one) for one in found["epochs"]),
        evaluation=describing.evaluation_of(found, [image.file for image in dataset.of_split(TEST)]),
        best_epoch=found["best_epoch"],
        parted=found["parted"],
        seconds=found["seconds"],
        parameters=found["parameters"],
        out=out,
    )


class _Training:
    """One training; see `train`."""

    def __init__(
        self,
        settings: TrainSettings,
        data: tuple[Path, Dataset],
        shown: pictures.View,
        directory: RunDirectory,
        tell: tuple[Tell, Tell],
    ) -> None:
        self._settings = settings
        self._source, dataset = data
        self._dataset = dataset
        self._directory = directory
        self._tell, self._progress = tell
        self._checkpoints = Checkpoints(directory.checkpoints)
        self._shown = shown
        self._watch = Watch(settings.early_stopping)
        self._epochs: list[Epoch] = []

    def run(self, spec: str, weights: Mapping[str, Any] | None) -> TrainResult:
        """See `train`.

        Args:
            weights: that it began from, as `ancestry` knows them.
        """
        settings, directory = self._settings, self._directory
        last = self._checkpoints.last()
        found = describing.begun(settings, self._dataset, self._source, self._shown, weights)
        directory.write(found)
        if spec:
            write_durably(directory.spec, spec.encode())
        for split, names in pictures.missing_classes(self._dataset).items():
            self._tell(f"{split} has no picture of {', '.join(names)}: nothing can be said of it there")
        if unlike := pictures.unlike_served(self._dataset, self._shown):
            self._tell(unlike)
        for reason in ancestry.doubts(found):
            self._tell(reason)
        network = networks.build(
            settings.network,
            len(self._dataset.classes),
            settings.size,
            # Those of the checkpoint take their place; the file they came from may be gone.
            FROM_SCRATCH if last else settings.weights,
            dropout=settings.dropout,
            seed=settings.seed,
        )
        splits = {split: self._pictures(split) for split in SPLITS}
        self._stages(network, splits, last)
        evaluation = self._evaluated(network, splits[TEST])
        result = TrainResult(
            epochs=tuple(self._epochs),
            evaluation=evaluation,
            best_epoch=self._watch.best_epoch,
            parted=parted(self._epochs),
            seconds=sum(one.seconds for one in self._epochs),
            parameters=network.model.count_params(),
            out=directory.root,
        )
        self._keep(network)
        files = [image.file for image in splits[TEST].images]
        directory.write(describing.finished(found, result, files))
        shutil.rmtree(directory.cache, ignore_errors=True)
        return result

    def _pictures(self, split: str) -> pictures.Pictures:
        return pictures.load(
            self._source, self._dataset, split, shown=self._shown, cache=self._directory.cache, tell=self._tell
        )

    def _stages(self, network: networks.Network, splits: dict[str, pictures.Pictures], last: Checkpoint | None) -> None:
        first, done = 0, 0
        if last is not None:
            first, done = last.stage, last.done
            last.watch(self._watch)
            self._epochs = list(last.epochs)
            _assign(network.model.variables, last.weights)
            # A process that was killed between the checkpoint and this left it a line short.
            write_durably(self._directory.metrics, csv_text(self._epochs).encode())
            self._tell(f"going on after epoch {len(self._epochs)}")
        for number in range(first, len(self._settings.stages)):
            going_on = last if number == first else None
            if going_on is None:
                self._watch.begin_stage()
            self._stage(network, splits, number, done if going_on else 0, going_on)
            if self._watch.best_epoch:
                _assign(network.model.variables, self._checkpoints.best(self._watch.best_epoch))

    def _stage(
        self,
        network: networks.Network,
        splits: dict[str, pictures.Pictures],
        number: int,
        done: int,
        going_on: Checkpoint | None,
    ) -> None:
        stage = self._settings.stages[number]
        if done >= stage.epochs or (done and self._watch.over):
            return
        what = stage_model(network, self._settings, stage, self._shown, sum(len(one.images) for one in splits.values()))
        self._tell(_stage_text(number, stage, network, what))
        if what.below is not None:
            self._progress(f"stage {number + 1}: asking the frozen layers once for each picture")
        cache = self._directory.cache
        seen = {split: what.examples(splits[split], cache / f"frozen-{split}.npy") for split in (TRAIN, VALIDATION)}
        settings, labels = self._settings, splits[TRAIN].labels
        weights = pictures.sample_weights(self._dataset, settings, labels)
        lesson = Lesson(seen[TRAIN], labels, weights, settings.batch_size, settings.seed)
        what.model.optimizer.build(what.model.trainable_variables)
        if going_on is not None:
            _assign(what.model.optimizer.variables, going_on.optimizer)
        pace = Pace()
        for epoch in range(done, stage.epochs):
            began_s = time.monotonic()
            steps = train_epoch(
                what,
                lesson,
                stage,
                epoch=epoch,
                overall=len(self._epochs) + 1,
                on_step=partial(self._say_progress, (number, epoch), pace),
            )
            validated = evaluate(
                predict(what.model, seen[VALIDATION]), splits[VALIDATION].labels, self._dataset.classes
            )
            made = Epoch(
                stage=number + 1,
                epoch=len(self._epochs) + 1,
                learning_rate=steps.rate,
                loss=steps.loss,
                accuracy=steps.accuracy,
                validation_loss=validated.loss,
                validation_accuracy=validated.accuracy,
                seconds=time.monotonic() - began_s,
                images_per_s=steps.images / steps.seconds,
                peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            )
            pace.epochs_s.append(made.seconds)
            self._ended(network, what, number, epoch + 1, made)
            if self._watch.over:
                self._tell(
                    f"stage {number + 1} ends: the validation loss was not lower for {self._watch.waited} epochs, "
                    f"the best is epoch {self._watch.best_epoch}"
                )
                break

    def _say_progress(
        self, place: tuple[int, int], pace: Pace, share: float, steps_s: float | None, loss: float
    ) -> None:
        number, epoch = place
        stages = self._settings.stages
        left_s = pace.left_s(stages[number].epochs - epoch - share, steps_s)
        later = sum(stage.epochs for stage in stages[number + 1 :])
        self._progress(
            f"stage {number + 1}/{len(stages)} epoch {epoch + 1}/{stages[number].epochs} {share:.0%}, loss {loss:.4f}"
            + ("" if left_s is None else f", at most {duration(left_s)} left in this stage")
            + (f", {later} epochs after it" if later else "")
        )

    def _ended(self, network: networks.Network, what: StageModel, number: int, done: int, epoch: Epoch) -> None:
        """Write down an epoch: the best weights first, so that what the checkpoint names is there."""
        self._epochs.append(epoch)
        weights = [np.asarray(one) for one in network.model.variables]
        better = self._watch.improves(epoch.epoch, epoch.validation_loss)
        if better:
            self._checkpoints.save_best(epoch.epoch, weights)
        self._checkpoints.save(
            Checkpoint(
                settings_digest=self._settings.digest,
                dataset_digest=self._dataset.digest,
                stage=number,
                done=done,
                epochs=tuple(self._epochs),
                best_loss=self._watch.best_loss,
                best_epoch=self._watch.best_epoch,
                waited=self._watch.waited,
                weights=weights,
                optimizer=[np.asarray(one) for one in what.model.optimizer.variables],
            )
        )
        write_durably(self._directory.metrics, csv_text(self._epochs).encode())
        self._tell(
            f"epoch {epoch.epoch}: loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.1%}; validation {epoch.validation_loss:.4f}, "
            f"{epoch.validation_accuracy:.1%}{' (best)' if better else ''}; rate {epoch.learning_rate:.2g}, {duration(epoch.seconds)}"
        )

    def _evaluated(self, network: networks.Network, test: pictures.Pictures) -> Evaluation:
        said = predict(network.model, Examples(test.pixels, self._shown.tensor))
        return evaluate(said, test.labels, self._dataset.classes)

    def _keep(self, network: networks.Network) -> None:
        from edgewise.train.saving import save  # noqa: PLC0415  (imports Keras)

        save(network, self._directory.model, self._directory.saved_model)


def _stage_text(number: int, stage: Stage, network: networks.Network, what: StageModel) -> str:
    trained = sum(int(np.prod(one.shape)) for one in what.model.trainable_variables)
    name = f" ({stage.name})" if stage.name else ""
    return (
        f"stage {number + 1}{name}: {trained:,} of {network.model.count_params():,} parameters of {network.kind.title}, "
        f"up to {stage.epochs} epochs, rate {stage.learning_rate:g} {stage.schedule}"
    )


def _assign(variables: Any, arrays: Any) -> None:
    if len(variables) != len(arrays):
        raise FailedPreconditionError(
            "the checkpoint is of another version of Edgewise or Keras; train anew in another directory"
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
