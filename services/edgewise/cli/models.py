"""`edgewise models`: build, import, export."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.cli.values import whole

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    command = commands.add_parser("models", help="build, import and export model repositories")
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_build(verbs.add_parser("build", help="write a model repository"))

    verb = verbs.add_parser("import", help="take a model out of BentoML's store")
    verb.add_argument("source", metavar="bentoml:NAME[:VERSION]", help="the latest version where none is named")
    verb.add_argument("directory", type=Path, metavar="DIR", help="the repository; the model goes to DIR/NAME/N/")
    verb.set_defaults(run=_import)

    verb = verbs.add_parser("export", help="put a model into BentoML's store")
    verb.add_argument("version_directory", type=Path, metavar="DIR/MODEL/VERSION", help="what to export")
    verb.add_argument("target", metavar="bentoml:NAME[:VERSION]", help="BentoML makes a version where none is named")
    verb.set_defaults(run=_export)


def _add_build(command: argparse.ArgumentParser) -> None:
    kinds = command.add_subparsers(dest="kind", metavar="KIND", required=True)
    pets = kinds.add_parser("pets", help="EfficientNet-Lite with published ImageNet weights: dog, cat or other")
    pets.add_argument("directory", type=Path, metavar="DIR", help="the repository; the model goes to DIR/pets/N/")
    pets.add_argument(
        "--variant",
        choices=("cloud", "edge", "edge-lite2", "edge-float32"),
        default="edge",
        help="cloud: lite2 in float32; edge: lite0 in int8; edge-lite2: lite2 in int8; edge-float32: lite0 in float32 (default edge)",
    )
    _add_build_options(pets)
    pets.add_argument(
        "--calibration-images",
        type=Path,
        metavar="DIR",
        help="photographs for the scales of int8 (default: those that are installed along)",
    )
    pets.set_defaults(run=_build_pets)

    zoo = kinds.add_parser("zoo", help="well-known architectures without trained weights, for latency only")
    zoo.add_argument("directory", type=Path, metavar="DIR", help="the repository; each goes to DIR/NAME/N/")
    _add_build_options(zoo)
    zoo.add_argument(
        "--only",
        nargs="+",
        default=(),
        metavar="NAME",
        help="of alexnet, densenet121, inception_v1, inception_v2, resnet50, shufflenet, squeezenet, vgg19, zfnet512 "
        "(default: all)",
    )
    zoo.set_defaults(run=_build_zoo)

    tiny = kinds.add_parser(
        "tiny", help="a network that computes next to nothing, so that the server alone is measured"
    )
    tiny.add_argument("directory", type=Path, metavar="DIR", help="the repository; the model goes to DIR/tiny/N/")
    _add_build_options(tiny)
    tiny.set_defaults(run=_build_tiny)


def _add_build_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--version", type=whole(1), default=1, metavar="N", help="its number (default 1)")
    command.add_argument("--force", action="store_true", help="build anew what is there, and replace it")


def _build_pets(arguments: argparse.Namespace) -> int:
    from edgewise.model_server.building import pets

    pets.build(
        arguments.directory,
        variant=arguments.variant,
        version=arguments.version,
        calibration_images=arguments.calibration_images,
        force=arguments.force,
        report=print,
    )
    return 0


def _build_zoo(arguments: argparse.Namespace) -> int:
    from edgewise.model_server.building import zoo

    zoo.build(
        arguments.directory,
        only=tuple(arguments.only),
        version=arguments.version,
        force=arguments.force,
        report=print,
    )
    return 0


def _build_tiny(arguments: argparse.Namespace) -> int:
    from edgewise.model_server.building import tiny

    tiny.build(arguments.directory, version=arguments.version, force=arguments.force, report=print)
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from edgewise.model_server.bento.store import import_model

    print(f"imported to {import_model(arguments.source, arguments.directory)}")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from edgewise.model_server.bento.store import export_model

    print(f"exported as {export_model(arguments.version_directory, arguments.target)}")
    return 0
