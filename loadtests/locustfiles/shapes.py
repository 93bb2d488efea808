"""How the number of users moves over the run time. `--shape` chooses one by its words; with `--class-picker` and this file
beside a locustfile (`-f rest_json.py,shapes.py`), the web page offers them too.

A factor of 1 is the number of users that was asked for (`--users`, or the form's field), 100 where none was. Locust looks once a
second, and moves by whole users: with `--rate`, the rate moves as the users do.
"""

import logging
from typing import ClassVar

from locust import LoadTestShape
from swarm.options import DEFAULT_SHAPED_USERS

from edgewise.core.errors import InvalidArgumentError
from edgewise.study.arrivals import Shape, parse_shape


class ShapeOfWords(LoadTestShape):
    """A shape in the words of `edgewise.study.arrivals.parse_shape`.

    Attributes:
        usual: the words where `--shape` gives none.
    """

    abstract = True
    use_common_options = True
    usual: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__()
        self._words = ""
        self._shape: Shape | None = None

    def shape(self) -> Shape:
        """The curve. Raises InvalidArgumentError: the words say none."""
        given: str = self.runner.environment.parsed_options.shape
        words = given if given.split(" ", maxsplit=1)[0] == self.usual.split(" ")[0] else self.usual
        if self._shape is None or words != self._words:
            self._words, self._shape = words, parse_shape(words)
        return self._shape

    def tick(self) -> tuple[int, float] | None:
        options = self.runner.environment.parsed_options
        try:
            shape = self.shape()
        except InvalidArgumentError as error:
            logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - a traceback tells the reader nothing more
            return None
        elapsed_s, duration_s = self.get_run_time(), float(options.run_time or 0)
        if elapsed_s >= duration_s:
            return None
        if options.engine == "both":
            duration_s /= 2
            elapsed_s %= duration_s
        users = options.num_users or DEFAULT_SHAPED_USERS
        # As many a second as the highest point has: the users follow at once.
        return round(users * shape.factor_at(elapsed_s, duration_s)), max(1.0, users * shape.peak_factor())


class Steps(ShapeOfWords):
    """Levels of equal length."""

    usual = "steps 0.25,0.5,1"


class Ramp(ShapeOfWords):
    """From one level to another, steadily."""

    usual = "ramp 0.1..1"


class Spike(ShapeOfWords):
    """The level that was asked for, and for a while a multiple of it."""

    usual = "spike 3x at 40% for 10%"


class Day(ShapeOfWords):
    """A day from midnight to midnight, within the run time."""

    usual = "day 0.2..1"


class Trace(ShapeOfWords):
    """A recorded load: a CSV file with the columns `at_ratio` (of the run time) or `offset_s`, and `factor`."""

    usual = "custom"


class Constant(ShapeOfWords):
    """The level that was asked for, from the first second."""

    usual = "constant"


CLASSES = {cls.usual.split(" ")[0]: cls for cls in (Steps, Ramp, Spike, Day, Trace, Constant)}


def shape_of(words: str) -> LoadTestShape | None:
    """The shape that words ask for; None for no words.

    Raises: InvalidArgumentError: there is no such shape.
    """
    if not words:
        return None
    parse_shape(words)
    cls = CLASSES.get(words.split(" ", maxsplit=1)[0])
    if cls is None:
        raise InvalidArgumentError(f"there is no load shape for {words!r}; there are {', '.join(CLASSES)}")
    return cls()
