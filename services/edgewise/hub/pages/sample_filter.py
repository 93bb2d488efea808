"""Which samples a page shows, as its address says it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final
from urllib.parse import urlencode

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.versions import MAX_VERSION
from edgewise.hub.store.samples import SampleFilter
from edgewise.hub.store.texts import storable
from edgewise.protocols.documents import time_s

ALL: Final = ""
UNLABELLED: Final = "no"
LABELLED: Final = "yes"
LABEL: Final = "label:"
_LONGEST: Final = 256
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_DAY_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody chose, as text; "" for nothing.

    Attributes:
        show: "" for all, "no" without a label, "yes" with one, "label:dog" with this one.
        since, until: days, both of them included.
    """

    show: str = ""
    site: str = ""
    source: str = ""
    model: str = ""
    version: str = ""
    reason: str = ""
    kind: str = ""
    since: str = ""
    until: str = ""

    @property
    def query(self) -> str:
        """For an address."""
        return urlencode({name: value for name, value in _items(self) if value})

    @property
    def is_all(self) -> bool:
        """Whether nothing was chosen."""
        return not self.query

    def link(self, path: str, **more: str) -> str:
        """An address that keeps what was chosen."""
        query = urlencode({name: value for name, value in [*_items(self), *more.items()] if value})
        return f"{path}?{query}" if query else path

    def filter(self) -> SampleFilter:
        """As the hub is asked.

        Raises: InvalidArgumentError: what was chosen is not possible.
        """
        texts = {name: storable(getattr(self, name)) or None for name in ("site", "source", "model", "reason", "kind")}
        label = self.show.removeprefix(LABEL) if self.show.startswith(LABEL) else None
        since_s, until_s = _day_s(self.since, "the first day"), _day_s(self.until, "the last day")
        return SampleFilter(
            **texts,
            version=_version(self.version),
            label=None if label is None else storable(label),
            is_labelled={UNLABELLED: False, LABELLED: True}.get(self.show),
            since_s=since_s,
            until_s=None if until_s is None else until_s + _DAY_S,
        )


def wanted(params: Mapping[str, str]) -> Wanted:
    """What an address says."""
    return Wanted(**{one.name: params.get(one.name, "").strip()[:_LONGEST] for one in fields(Wanted)})


def _items(chosen: Wanted) -> list[tuple[str, Any]]:
    return [(one.name, getattr(chosen, one.name)) for one in fields(Wanted)]


def _version(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MAX_VERSION):
        raise InvalidArgumentError(f"The version {text[:40]!r} is none; expected a number such as 3, or nothing.")
    return int(text)


def _day_s(text: str, what: str) -> float | None:
    if not text:
        return None
    try:
        return time_s(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else "")
    except InvalidArgumentError:
        raise InvalidArgumentError(
            f"For {what}, {text[:40]!r} is no day; expected one such as 2026-11-23, or nothing."
        ) from None
