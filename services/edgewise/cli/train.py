"""`edgewise train`: run, export, show."""

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from edgewise.cli.values import whole
from edgewise.core.errors import FailedPreconditionError

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands

DESCRIPTION = """\
Train a network on a dataset, look at what came out, and make versions of a model from it.

  edgewise train run pets.toml --out runs/pets
  edgewise train show runs/pets
  edgewise train export runs/pets --out build/mine --model pets --version 3
"""
RUN = """\
Train as the specification says, and write into DIR: metrics.csv, checkpoints/, plots/, report.html, model.keras, saved_model/, run.json.
Ctrl-C, SIGTERM and kill -9 leave the last epoch's checkpoint; --resume goes on from it.
"""
RUN_EPILOG = """\
exit codes: 0 trained; 1 it could not be, and why; 2 wrong arguments; 130, 143 stopped by SIGINT, SIGTERM
"""
EXPORT = """\
Write OUT/cloud/MODEL/VERSION in float32 and OUT/edge/MODEL/VERSION in int8, as `edgewise serve` and `edgewise release create` take them, and
OUT/lineage.json. Both are asked about the test split, and nothing is written where they disagree too often.
"""
EXPORT_EPILOG = """\
exit codes: 0 they are there; 1 they could not be made, and why; 2 wrong arguments; 130, 143 stopped by SIGINT, SIGTERM
"""
RELEASE = """\

What brings these versions to the hub as a release, with where they come from; DIR is the directory of your offline keys, which sign it
(.edgewise/trust where `edgewise up` runs):
"""
_PACKAGES = ("tensorflow", "keras", "matplotlib", "onnx", "tf2onnx")


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "train",
        help="train networks on datasets, and make versions of models from them",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_run(verbs)
    _add_export(verbs)
    show = verbs.add_parser("show", help="print what a training came to", description="Print what a training came to.")
    show.add_argument("directory", type=Path, metavar="DIR", help="of the training")
    show.add_argument("--report", action="store_true", help="draw its plots and write its report again")
    show.set_defaults(run=_show)


def _add_run(verbs: "Commands") -> None:
    command = verbs.add_parser(
        "run",
        help="train as a specification says",
        description=RUN,
        epilog=RUN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("spec", type=Path, metavar="SPEC.toml", help="what is trained on what, and how")
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="where it goes (default runs/NAME, NAME being the file's)"
    )
    command.add_argument("--resume", action="store_true", help="go on with the training in DIR")
    command.set_defaults(run=_run)


def _add_export(verbs: "Commands") -> None:
    command = verbs.add_parser(
        "export",
        help="make versions of a model from a training",
        description=EXPORT,
        epilog=EXPORT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("directory", type=Path, metavar="DIR", help="of the training")
    command.add_argument("--out", type=Path, required=True, metavar="OUT", help="where the versions go")
    command.add_argument("--model", default="pets", metavar="NAME", help="the model's name (default pets)")
    command.add_argument("--version", type=whole(1), required=True, metavar="N", help="its number")
    command.add_argument(
        "--agreement",
        type=_share,
        default=0.95,
        metavar="SHARE",
        help="the least share of the test split on which float32 and int8 have to give the same verdict (default 0.95)",
    )
    command.add_argument(
        "--threshold",
        action="append",
        default=[],
        type=_threshold,
        metavar="CLASS=P",
        help="how probable a class has to be to be the verdict (default 0.5); may be repeated",
    )
    command.add_argument("--dataset", type=Path, metavar="DIR", help="where the dataset is, if it was moved")
    command.add_argument(
        "--tensorflow", action="store_true", help="also OUT/tensorflow/NAME/N, which serves the SavedModel"
    )
    command.add_argument("--force", action="store_true", help="replace versions that are there")
    command.set_defaults(run=_export)


def _run(arguments: argparse.Namespace) -> int:
    from edgewise.study.progress import Progress
    from edgewise.train import reporting, spec_file
    from edgewise.train.training import train

    spec = spec_file.load(arguments.spec)
    _check_packages()
    out = arguments.out or Path("runs") / arguments.spec.stem
    progress = Progress(sys.stderr)
    stopped: list[int] = []
    try:
        with _terminable(stopped):
            train(
                spec.settings,
                spec.dataset,
                out,
                progress.say,
                resume=arguments.resume,
                spec=spec.text,
                progress=progress.update,
            )
            reporting.write(out)
    except KeyboardInterrupt:
        print(f"stopped; go on with: edgewise train run {arguments.spec} --out {out} --resume")
        return 128 + (stopped[0] if stopped else signal.SIGINT)
    print(reporting.summary_text(out), end="")
    print(f"report: {out / 'report.html'}")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from edgewise.train.exporting import export

    _check_packages()
    stopped: list[int] = []
    try:
        with _terminable(stopped):
            done = export(
                arguments.directory,
                arguments.out,
                model=arguments.model,
                version=arguments.version,
                agreement=arguments.agreement,
                thresholds=dict(arguments.threshold),
                dataset=arguments.dataset,
                tensorflow=arguments.tensorflow,
                force=arguments.force,
                tell=print,
            )
    except KeyboardInterrupt:
        print("stopped; each version is written whole or not at all, and the same command makes what is missing")
        return 128 + (stopped[0] if stopped else signal.SIGINT)
    print(RELEASE)
    print(done.release_command)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from edgewise.train import reporting

    if arguments.report:
        _check_packages("matplotlib")
        reporting.write(arguments.directory)
    print(reporting.summary_text(arguments.directory), end="")
    return 0


@contextmanager
def _terminable(stopped: list[int]) -> Iterator[None]:
    """Let SIGTERM end a training as Ctrl-C does."""

    def stop(number: int, _frame: FrameType | None) -> None:
        stopped.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _share(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"found {word!r}, expected a number in 0..1")
    return value


def _threshold(word: str) -> tuple[str, float]:
    name, equals, value = word.rpartition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"found {word!r}, expected CLASS=P, such as dog=0.8")
    return name, _share(value)


def _check_packages(*names: str) -> None:
    missing = [name for name in names or _PACKAGES if find_spec(name) is None]
    if missing:
        raise FailedPreconditionError(
            f"`edgewise train` needs {' and '.join(missing)}; install them with: pip install 'edgewise[train]'"
        )
