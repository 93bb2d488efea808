"""The steps of a comparison, each done when what it makes is there."""

import base64
import csv
import io
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgewise.core.errors import CancelledError, EdgewiseError, FailedPreconditionError, UnavailableError
from edgewise.protocols import heldout
from edgewise.protocols.dataset_manifest import TEST, read_dataset
from edgewise.study.parts import HOST, Part, ask, ending
from edgewise.train.networks_study.directory import Directory
from edgewise.train.networks_study.findings import Version, training_of, weighed_text
from edgewise.train.networks_study.scenario import TIERS, NetworksScenario, training_text
from edgewise.trust.durable_files import write_durably

DrawDataset = Callable[[Path, Path, NetworksScenario], None]
"""Draws pictures into the first directory, and builds the dataset in the second; neither is there yet."""

_LOOK_INTERVAL_S: Final = 0.1
_PREDICTIONS: Final = 20
_MOST_PICTURES: Final = 60
_KEEP_TIMEOUT_S: Final = 60.0
_START_TIMEOUT_S: Final = 180.0
_BESIDE: Final = ("golden-", "labels.txt", "model.toml")
"""What lies in a version's directory and is not the model."""

Watch = Callable[[str], None]
Command = Callable[[Path, list[str], Watch, threading.Event], None]
"""Runs `edgewise WORDS...` to its end: its log, the words, what to tell of the progress, what stops it; see `run_command`."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        name: of its log, and of what is missing where it fails.
        text: for people.
        expected_s: on two cores of 2024 that do nothing else.
        done: whether what it makes is there.
        run: does it; is given what to tell of the progress.
        needs: names of steps without which it cannot be done.
    """

    name: str
    text: str
    expected_s: float
    done: Callable[[], bool]
    run: Callable[[Watch], None]
    needs: tuple[str, ...] = ()


class Steps:
    """Makes the steps before the servers are asked.

    Args:
        draw: makes a dataset of drawn pictures.
        stop: ends the present step when set.
        command: trains and exports.
    """

    def __init__(
        self,
        scenario: NetworksScenario,
        directory: Directory,
        draw: DrawDataset,
        stop: threading.Event,
        command: Command | None = None,
    ) -> None:
        self._scenario = scenario
        self._directory = directory
        self._draw = draw
        self._stop = stop
        self._run_command = command or run_command

    @property
    def dataset(self) -> Path:
        """What is trained on."""
        return self._scenario.dataset or self._directory.dataset

    def all(self) -> list[Step]:
        """In their order: all of one network before the next."""
        found = [Step("pictures", "drawing pictures", 5.0, self._has_pictures, self._pictures)]
        for name in self._scenario.names:
            found += [self._training(name), self._exporting(name)]
            found += [self._weighing(name, form) for form in self._scenario.formats]
        return found

    def _training(self, name: str) -> Step:
        images = self._scenario.images * len(self._scenario.classes) * self._scenario.epochs
        return Step(
            f"training {name}",
            f"training {name}",
            25.0 + images * 0.15,
            lambda: training_of(self._directory.training(name)) is not None,
            lambda tell: self._train(name, tell),
            ("pictures",),
        )

    def _exporting(self, name: str) -> Step:
        return Step(
            f"export {name}",
            f"making versions of {name}",
            40.0,
            (self._directory.versions(name) / "lineage.json").is_file,
            lambda tell: self._export(name, tell),
            (f"training {name}",),
        )

    def _weighing(self, name: str, form: str) -> Step:
        return Step(
            f"weighing {name} {form}",
            f"memory of a server with {name} in {form}",
            8.0 if form == "tensorflow" else 2.5,
            self._directory.weighed(name, form).is_file,
            lambda _tell: self._weigh(name, form),
            (f"export {name}",),
        )

    # ---- pictures

    def _has_pictures(self) -> bool:
        return (self._directory.pictures / "labels.csv").is_file()

    def _pictures(self, _tell: Watch) -> None:
        root = self._directory.root
        if self._scenario.dataset is None and not (self._directory.dataset / "dataset.json").is_file():
            for left in (root / "drawn", self._directory.dataset):
                shutil.rmtree(left, ignore_errors=True)
            self._draw(root / "drawn", self._directory.dataset, self._scenario)
        images = read_dataset(self.dataset).of_split(TEST)
        shown = images[:: max(1, -(-len(images) // _MOST_PICTURES))]
        self._directory.pictures.mkdir(exist_ok=True)
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("file", "label"))
        for image in shown:
            name = Path(image.file).name
            shutil.copyfile(self.dataset / image.file, self._directory.pictures / name)
            rows.writerow((name, image.label))
        write_durably(self._directory.pictures / "labels.csv", text.getvalue().encode())

    # ---- training

    def _train(self, network: str, tell: Watch) -> None:
        run = self._directory.training(network)
        spec = run.parent / f"{network}.toml"
        spec.parent.mkdir(exist_ok=True)
        spec.write_text(training_text(self._scenario, network, self.dataset), encoding="utf-8")
        resume = ["--resume"] if (run / "run.json").is_file() else []
        if not resume:
            shutil.rmtree(run, ignore_errors=True)
        self._command(
            self._directory.log(f"training-{network}"), ["train", "run", str(spec), "--out", str(run), *resume], tell
        )
        if training_of(run) is None:
            raise FailedPreconditionError(f"training {network} left no result in {run}")
        # A quarter of a gigabyte of some networks, and nothing goes on from it any more.
        shutil.rmtree(run / "checkpoints", ignore_errors=True)

    def _export(self, network: str, tell: Watch) -> None:
        out = self._directory.versions(network)
        shutil.rmtree(out, ignore_errors=True)
        words = ["train", "export", str(self._directory.training(network)), "--out", str(out), "--model", network]
        # How far int8 agrees is a finding here, not a condition.
        words += ["--version", "1", "--agreement", "0", "--dataset", str(self.dataset), "--tensorflow"]
        self._command(self._directory.log(f"export-{network}"), words, tell)

    def _command(self, log: Path, words: list[str], tell: Watch) -> None:
        log.parent.mkdir(exist_ok=True)
        self._run_command(log, words, tell, self._stop)

    # ---- weighing

    def _weigh(self, network: str, form: str) -> None:
        repository = self._directory.versions(network) / TIERS[form]
        version = repository / network / "1"
        words: tuple[str, ...] = ("serve", "--repository", str(repository), "--poll-interval-s", "0", "--threads", "1")
        words += ("--rest-port", "0", "--grpc-port", "0", "--drain-timeout-s", "0")
        begun_s = time.monotonic()
        part = Part(f"weighing-{network}-{form}", words, self._directory.log(f"weighing-{network}-{form}"))
        try:
            part.wait_ready(self._stop, _START_TIMEOUT_S)
            ready_s = time.monotonic() - begun_s
            self._predict(part, network)
            memory = memory_of(part.pid)
        finally:
            part.stop()
        found = Version(network, form, size_of(version), memory["VmRSS"], memory["VmHWM"], ready_s)
        write_durably(self._directory.weighed(network, form), weighed_text(found))

    def _predict(self, part: Part, network: str) -> None:
        shown = sorted(one for one in self._directory.pictures.iterdir() if one.suffix != ".csv")[:_PREDICTIONS]
        for place in range(_PREDICTIONS):
            if self._stop.is_set():
                raise CancelledError("the study was stopped")
            content = base64.b64encode(shown[place % len(shown)].read_bytes()).decode()
            said = {"signature_name": "image", "instances": [{"b64": content}]}
            ask((HOST, part.ports["rest"]), "POST", f"/v1/models/{network}:predict", said, timeout_s=60.0)


def run_command(log: Path, words: list[str], tell: Watch, stop: threading.Event) -> None:
    """Run `edgewise WORDS...` in a process of its own.

    Args:
        log: takes its output, whose last line is told.
    Raises:
        CancelledError: it was stopped; it was given time to keep what it has.
        FailedPreconditionError: it failed; the message has its last words.
    """
    part = Part(" ".join(words[:2]), words, log)
    try:
        while part.running:
            if stop.is_set():
                raise CancelledError("the study was stopped")
            tell(_last_line(log))
            time.sleep(_LOOK_INTERVAL_S)
    finally:
        part.stop(_KEEP_TIMEOUT_S)
    if part.exit_code:
        raise FailedPreconditionError(
            f"`edgewise {' '.join(words[:2])}` ended with {ending(part.exit_code)}: {_last_line(log) or 'it said nothing'}; see {log}"
        )


def size_of(version: Path) -> int:
    """Bytes of the files that make up a model, without labels, golden and held-out inputs, and settings."""
    beside = (*_BESIDE, heldout.FOLDER)
    files = [path for path in version.rglob("*") if not path.relative_to(version).parts[0].startswith(beside)]
    return sum(path.stat().st_size for path in files if path.is_file())


def memory_of(pid: int) -> dict[str, int]:
    """Resident memory of a process in bytes: now (VmRSS), and the most so far (VmHWM).

    Raises: UnavailableError: it has ended.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        found = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
        return {name: int(found[name][0]) * 1024 for name in ("VmRSS", "VmHWM")}
    except (OSError, KeyError, IndexError, ValueError) as error:
        raise UnavailableError("the server ended while its memory was looked at") from error


def busy() -> float:
    """How many processes wanted to run, in the mean of the last minute."""
    return os.getloadavg()[0]


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as source:
            source.seek(max(0, source.seek(0, os.SEEK_END) - 4096))
            lines = source.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.removeprefix("edgewise: ").strip() for line in reversed(lines) if line.strip()), "")


def shown_error(error: EdgewiseError) -> str:
    """In one line."""
    return " ".join(error.message.split())[:600]
