"""`edgewise data build`, `check` and `synthetic`: labelled pictures made into a dataset."""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewise.cli.values import whole
from edgewise.core.errors import InvalidArgumentError

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands
    from edgewise.dataset.progress import Progress
    from edgewise.dataset.settings import Augmentation, BuildSettings

_MAX_SEED = (1 << 53) - 1
BUILD = """\
Make a dataset of labelled pictures: doubles dropped, train, validation and test kept apart by source, more pictures for train by augmentation,
with counts, mean and a digest of all of it. The same pictures built the same way give the same digest.

PATH is a directory with a folder for each class, what `edgewise data export --format folder` wrote, or a list of "file class" lines.

  edgewise data build exports/north --out datasets/pets-4 --size 256x256 --augment rotate,flip,brighten,darken --copies 2
  edgewise data build --spec dataset.toml --out datasets/pets-4
  edgewise data build exports/north exports/may --keep datasets/pets-4 --out datasets/pets-5

What is on the command line comes before what is in the specification.

Exit codes: 0 it is there; 1 it is not, nothing is left, and why; 2 wrong arguments.
"""
CHECK = """\
Check a dataset: each file is what the manifest says, and no file, no source, no visit of a camera and no picture
that is nearly the same is in two splits.

Exit codes: 0 all is well; 1 something is not, and what; 2 wrong arguments.
"""
SYNTHETIC = """\
Draw pictures for a smoke test: a shape for each class, on the scenes of several made-up cameras. `edgewise data build` takes the directory;
every picture and the dataset's manifest say that they are synthetic.

  edgewise data synthetic --classes cat,dog,other --images 60 --out drawn
"""


def add_to(verbs: "Commands") -> None:
    """Add the verbs to those of `edgewise data`."""
    _add_build(_verb(verbs, "build", "make a dataset of labelled pictures", BUILD))
    check = _verb(verbs, "check", "check a dataset: files, digests, and nothing in two splits", CHECK)
    check.add_argument("dataset", type=Path, metavar="DATASET", help="what `edgewise data build` made")
    check.add_argument("--near", type=whole(0, 32), metavar="BITS", help="as for build (what it was built with)")
    check.set_defaults(run=_check)
    drawn = _verb(verbs, "synthetic", "draw pictures for a smoke test", SYNTHETIC)
    drawn.add_argument("--classes", required=True, type=_words, metavar="NAME,NAME", help="two or more")
    drawn.add_argument("--images", type=whole(1, 100_000), default=60, metavar="N", help="of each class (60)")
    drawn.add_argument("--size", type=_size, default=(96, 96), metavar="WxH", help="in pixels (96x96)")
    drawn.add_argument("--seed", type=whole(0, _MAX_SEED), default=1, metavar="N", help="other pictures (1)")
    drawn.add_argument("--out", type=Path, required=True, metavar="DIR", help="not there yet")
    drawn.set_defaults(run=_synthetic)


def _verb(verbs: "Commands", name: str, summary: str, description: str) -> argparse.ArgumentParser:
    return verbs.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def _add_build(command: argparse.ArgumentParser) -> None:
    command.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="of pictures (paths of the specification)")
    command.add_argument("--out", type=Path, required=True, metavar="DATASET", help="a directory that is not there yet")
    command.add_argument("--spec", type=Path, metavar="FILE", help="a TOML file that says the same, and more")
    command.add_argument("--name", metavar="NAME", help="of the dataset (that of the first PATH)")
    command.add_argument("--split", metavar="A,B,C", help="percent for train, validation, test (70,15,15)")
    command.add_argument("--seed", type=whole(0, _MAX_SEED), metavar="N", help="of split, augmentation, shuffling (1)")
    command.add_argument("--size", metavar="WxH", help="of all pictures in pixels (each its own)")
    command.add_argument("--fit", choices=("crop", "pad", "stretch"), help="pictures of another shape to --size (crop)")
    command.add_argument("--augment", metavar="A,B", help="of rotate, resize, stretch, brighten, darken, flip (none)")
    command.add_argument("--copies", type=whole(1, 50), metavar="N", help="augmented ones of each of train (1)")
    command.add_argument("--keep", type=Path, metavar="DATASET", help="its pictures and sources stay in their splits")
    command.add_argument(
        "--near",
        type=whole(0, 32),
        metavar="BITS",
        help="of 128 in which nearly equal pictures may differ, 0 to 32 (10)",
    )
    command.add_argument("--skip-bad", action="store_true", help="pass over files that are no good pictures, name them")
    command.add_argument("--allow-missing", action="store_true", help="a class may be missing from validation or test")
    command.set_defaults(run=partial(_build, command))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _size(text: str) -> tuple[int, int]:
    from edgewise.dataset.settings import parse_size

    try:
        return parse_size(text)
    except InvalidArgumentError as error:
        raise argparse.ArgumentTypeError(error.message) from None


def _build(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    from edgewise.dataset import spec_file
    from edgewise.dataset.building import build
    from edgewise.dataset.settings import BuildSettings
    from edgewise.dataset.telling import built_text

    out: Path = arguments.out
    # Named after what it is made of: the same pictures give the same digest, wherever they are built.
    name = arguments.paths[0].resolve().stem if arguments.paths else ""
    spec = spec_file.load(arguments.spec) if arguments.spec else spec_file.Spec((), BuildSettings(name))
    paths = tuple(arguments.paths) or spec.paths
    if not paths:
        command.error("there is no PATH; expected directories or lists of pictures, here or as paths in --spec")
    settings = _settings(command, arguments, spec.settings)
    with _progress() as tell:
        built = build(paths, out, settings, tell=tell, created_s=time.time())
    print(built_text(built, out))
    return 0


def _settings(
    command: argparse.ArgumentParser, arguments: argparse.Namespace, settings: "BuildSettings"
) -> "BuildSettings":
    """What the specification says, and over it what the command line says."""
    from edgewise.dataset.settings import Fit, parse_shares, parse_size

    said: dict[str, Any] = {
        "name": arguments.name,
        "seed": arguments.seed,
        "keep": arguments.keep,
        "near_bits": arguments.near,
        "fit": Fit(arguments.fit) if arguments.fit else None,
        "skip_bad": arguments.skip_bad or None,
        "allow_missing": arguments.allow_missing or None,
    }
    try:
        said["shares"] = parse_shares(arguments.split) if arguments.split is not None else None
        said["size"] = parse_size(arguments.size) if arguments.size is not None else None
        said["augmentation"] = _augmentation(arguments, settings.augmentation)
    except InvalidArgumentError as error:
        command.error(error.message)
    return replace(settings, **{name: value for name, value in said.items() if value is not None})


def _augmentation(arguments: argparse.Namespace, augmentation: "Augmentation") -> "Augmentation":
    from edgewise.dataset.settings import check_augmentation, parse_changes

    if arguments.augment is not None:
        augmentation = replace(augmentation, changes=parse_changes(_words(arguments.augment)))
    if arguments.copies is not None:
        augmentation = replace(augmentation, copies=arguments.copies)
    if arguments.copies is not None and not augmentation.changes:
        raise InvalidArgumentError("--copies goes with --augment, such as --augment rotate,flip")
    return check_augmentation(augmentation)


def _check(arguments: argparse.Namespace) -> int:
    from edgewise.dataset.checking import check
    from edgewise.dataset.telling import checked_text

    with _progress() as tell:
        checked = check(arguments.dataset, tell=tell, near_bits=arguments.near)
    print(checked_text(checked, arguments.dataset))
    return 1 if checked.damages or checked.leaks else 0


def _synthetic(arguments: argparse.Namespace) -> int:
    from edgewise.dataset.synthetic import make

    with _progress() as tell:
        drawn = make(arguments.out, arguments.classes, arguments.images, arguments.size, arguments.seed, tell=tell)
    sources = len({drawing.source for drawing in drawn})
    print(
        f"{arguments.out}: {len(drawn):,} synthetic pictures of {len(arguments.classes)} classes and {sources} sources"
    )
    return 0


@contextmanager
def _progress() -> "Iterator[Progress]":
    from edgewise.dataset.progress import Progress

    progress = Progress(sys.stderr)
    try:
        yield progress
    finally:
        progress.end()
