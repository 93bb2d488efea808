"""What the locustfiles understand on the command line, and in the form of the web page, beside locust's own options."""

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgewise.core.errors import InvalidArgumentError
from edgewise.study.arrivals import parse_shape

ENGINES = ("closed", "open", "both")
ARRIVALS = ("poisson", "constant")
IMAGES = Path(__file__).parents[3] / "examples" / "images"
DEFAULT_SHAPED_USERS = 100
"""Users of a shape where none are asked for: a shape moves in steps of one user."""


def shape_words(text: str) -> str:
    """The words of a load shape, checked; "" for none."""
    if text.strip():
        try:
            parse_shape(text)
        except InvalidArgumentError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return text.strip()


def number(least: float, *, above: bool = False, greatest: float = 1e6) -> Callable[[str], float]:
    """A parser of numbers within bounds.

    Args:
        above: the least itself is too small.
    """

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= greatest) or (above and value == least):
            bound = "more than" if above else "at least"
            raise argparse.ArgumentTypeError(f"{text!r} is no number of {bound} {least:g} and at most {greatest:g}")
        return value

    # argparse puts the name into its own messages.
    parse.__name__ = "number"
    return parse


def images_directory(text: str) -> str:
    """A directory of photographs."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no directory")
    return text


def whole(text: str) -> int:
    """A seed."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to 2^63 - 1")
    return value


CHECKS: dict[str, Callable[[str], Any]] = {
    "shape": shape_words,
    "rate": number(0.0),
    "timeout_s": number(0.0, above=True, greatest=3600.0),
    "deadline_ms": number(0.0, greatest=3.6e6),
    "seed": whole,
    "images": images_directory,
}
"""Parsers by the name of the option's value; the form's fields are held to them too."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Teach locust's parser the options."""
    parser.add_argument("--model", default="pets", help="Name of the model that is asked")
    parser.add_argument(
        "--images",
        default=str(IMAGES),
        type=images_directory,
        help="Directory of photographs, for models that take images",
    )
    parser.add_argument(
        "--engine",
        default="closed",
        choices=ENGINES,
        help="closed: users ask, wait for the answer and ask again. open: a process of its own sends on schedule, and "
        "latencies count from the intended time. both: the first half of the run time closed, the second open",
    )
    parser.add_argument(
        "--rate",
        default=0.0,
        type=CHECKS["rate"],
        help="Requests a second of all users together. 0: closed, as fast as answers come; open, one for each user",
    )
    parser.add_argument(
        "--arrivals", default="poisson", choices=ARRIVALS, help="How the open loop's requests follow one another"
    )
    parser.add_argument(
        "--shape",
        default="",
        type=shape_words,
        # Without a per cent sign, which argparse wants doubled and the web page shows as it is.
        help="How the number of users moves over the run time: 'steps 0.5,1,2', 'ramp 0.2..1', 'day 0.3..1', a spike, or "
        "'custom FILE.csv' (docs/load-tests.md has all words); empty for the users as they are given",
    )
    parser.add_argument(
        "--timeout-s", default=10.0, type=CHECKS["timeout_s"], help="Seconds after which a request counts as lost"
    )
    parser.add_argument(
        "--deadline-ms",
        default=0.0,
        type=CHECKS["deadline_ms"],
        help="Told to the server as the request's deadline; 0 for none",
    )
    parser.add_argument("--seed", default=1, type=whole, help="Of the schedule and of the order of the questions")


def complaint(values: Mapping[str, Any]) -> str:
    """What is wrong with options or with a form's fields; "" when nothing is.

    Args:
        values: by the names of the parser's values; those that are missing are not looked at.
    """
    for name, check in CHECKS.items():
        try:
            if name in values:
                check(str(values[name]))
        except argparse.ArgumentTypeError as error:
            return f"--{name.replace('_', '-')}: {error}"
    for name, allowed in (("engine", ENGINES), ("arrivals", ARRIVALS)):
        if name in values and values[name] not in allowed:
            return f"--{name}: {values[name]!r} is none of {', '.join(allowed)}"
    if values.get("engine") == "both" and not float(values.get("rate", 0.0)):
        return "--engine both compares the two at one rate: give one, such as --rate 50"
    if not values.get("run_time") and (values.get("shape") or values.get("engine") == "both"):
        what = "--engine both" if values.get("engine") == "both" else "--shape"
        return f"{what} divides up the run time: give one, such as --run-time 60s"
    return ""
