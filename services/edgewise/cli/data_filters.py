"""Which samples are meant, as flags say it."""

import argparse
import re
import time
from typing import Final

from edgewise.cli.hub_connection import duration_s
from edgewise.cli.values import whole
from edgewise.core.errors import InvalidArgumentError
from edgewise.core.versions import MAX_VERSION

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_TEXTS: Final = ("site", "model", "label", "reason", "source", "since", "until", "kind")


def add_filters(command: argparse.ArgumentParser) -> None:
    """Add them."""
    meant = command.add_argument_group("which samples (all)")
    meant.add_argument("--site", metavar="NAME", help="where they were captured")
    meant.add_argument("--model", metavar="NAME", help="that answered")
    meant.add_argument("--version", type=whole(0, MAX_VERSION), metavar="N", help="of the model")
    labels = meant.add_mutually_exclusive_group()
    labels.add_argument("--label", metavar="LABEL", help="with this label")
    labels.add_argument("--labelled", action="store_true", help="with any label")
    labels.add_argument("--unlabelled", action="store_true", help="without a label")
    meant.add_argument("--reason", metavar="WORD", help="why they were captured, such as low-confidence or imported")
    meant.add_argument("--source", metavar="NAME", help="the camera, the door")
    meant.add_argument(
        "--since", type=_moment, metavar="TIME", help="2026-11-23, 2026-11-23T10:00:00Z, or 2d: so long ago"
    )
    meant.add_argument("--until", type=_moment, metavar="TIME", help="before that; as --since")
    meant.add_argument("--kind", choices=("picture", "tensor"), help="what was sent to the model")


def asked_for(arguments: argparse.Namespace) -> dict[str, str]:
    """What the hub is asked for."""
    asked = {name: getattr(arguments, name) for name in _TEXTS if getattr(arguments, name) is not None}
    if arguments.version is not None:
        asked["version"] = str(arguments.version)
    if arguments.labelled or arguments.unlabelled:
        asked["labelled"] = "yes" if arguments.labelled else "no"
    return asked


def _moment(word: str) -> str:
    """A moment as the hub reads it."""
    from edgewise.protocols.documents import time_s, time_text

    text = f"{word}T00:00:00Z" if _DATE.fullmatch(word) else word
    try:
        return time_text(time_s(text))
    except InvalidArgumentError:
        pass
    try:
        return time_text(time.time() - duration_s(word))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"found {word!r}, expected a time such as 2026-11-23, 2026-11-23T10:00:00Z, or how long ago, such as 2d"
        ) from None
