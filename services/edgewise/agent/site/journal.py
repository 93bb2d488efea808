"""What an agent has written down: one file for each rollout, replaced as a whole before anything follows from it."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgewise.agent.site.state import StateDirectory
from edgewise.agent.site.tally import Tally, read_tally, tally_value
from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.orders import Order
from edgewise.core.rollout.site_plan import Record
from edgewise.core.rollout.site_state import AGENT_STATES, SiteState
from edgewise.core.versions import MAX_VERSION
from edgewise.protocols.desired_state import order_value, read_order
from edgewise.protocols.documents import Document, check_format, document_bytes, read_document

FORMAT: Final = "edgewise-agent-record/1"
_MAX_BYTES: Final = 1 << 20
_LONGEST_WHY: Final = 4000
_FINISHED: Final = frozenset({SiteState.ACTIVE, SiteState.ROLLED_BACK})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """A rollout as this site knows it.

    Attributes:
        order: what was told last.
        previous: the version that answered when the record began; 0 for none. It never changes.
        tally: what was counted.
    """

    order: Order
    previous: int
    record: Record = field(default_factory=Record)
    tally: Tally = field(default_factory=Tally)

    @property
    def is_running_already(self) -> bool:
        """The release answered before the rollout came: there is nothing to switch."""
        return self.previous == self.order.version

    @property
    def has_finished(self) -> bool:
        """The site stays as it is unless it is told something else."""
        return self.record.state in _FINISHED and not (
            self.record.reverting and self.record.state != SiteState.ROLLED_BACK
        )


class Journal:
    """All entries of a site. A file that cannot be read is moved aside, and its rollout begins again from what is seen.

    Raises: EdgewiseError: the disk cannot be read.
    """

    def __init__(self, state: StateDirectory) -> None:
        self._state = state
        self._entries: dict[str, Entry] = {}
        for path, entry in read_entries(state):
            if isinstance(entry, Entry):
                self._entries[entry.order.rollout] = entry
            else:
                _log.error("%s; it is set aside, and its rollout begins again from what is seen here", entry.message)
                state.set_aside(path)

    def entries(self) -> list[Entry]:
        """All that is known."""
        return list(self._entries.values())

    def get(self, rollout: str) -> Entry | None:
        """What is known of a rollout."""
        return self._entries.get(rollout)

    def write(self, entry: Entry) -> None:
        """Keep an entry.

        Raises: EdgewiseError: the disk refuses; what was known before stays.
        """
        self._state.write(self._path(entry.order.rollout), document_bytes(_value(entry)))
        self._entries[entry.order.rollout] = entry

    def forget(self, rollout: str) -> None:
        """Remove the entry of a rollout that is over."""
        if self._entries.pop(rollout, None) is not None:
            self._state.remove(self._path(rollout))

    def _path(self, rollout: str) -> Path:
        return self._state.journal / _name(rollout)


def read_entries(state: StateDirectory) -> Iterator[tuple[Path, Entry | InvalidArgumentError]]:
    """The files of a journal, and what is in each, or why it cannot be used.

    Raises: EdgewiseError: the disk cannot be read.
    """
    for path in sorted(state.journal.glob("*.json")):
        content = state.read(path, _MAX_BYTES)
        if content is None:
            continue
        try:
            entry = _entry(read_document(content, f"the record {path.name}", max_bytes=_MAX_BYTES))
            if _name(entry.order.rollout) != path.name:
                raise InvalidArgumentError(f"the record {path.name} is that of another rollout")
        except InvalidArgumentError as error:
            yield path, error
        else:
            yield path, entry


def _name(rollout: str) -> str:
    """Rollouts are named by people; a file cannot have every such name."""
    return f"{hashlib.sha256(rollout.encode()).hexdigest()[:32]}.json"


def _value(entry: Entry) -> dict[str, object]:
    record = entry.record
    return {
        "format": FORMAT,
        "order": order_value(entry.order),
        "previous": entry.previous,
        "record": {
            "state": record.state.value,
            "stage": record.stage,
            "reverting": record.reverting,
            "why": record.why[:_LONGEST_WHY],
        },
        "tally": tally_value(entry.tally),
    }


def _entry(top: Document) -> Entry:
    check_format(top, FORMAT)
    table = top.table("record")
    state = table.word("state", SiteState)
    if state != SiteState.PENDING and state not in AGENT_STATES:
        raise table.wrong("state", state.value, "a state that an agent can be in")
    return Entry(
        order=read_order(top.table("order")),
        previous=top.integer("previous", 0, MAX_VERSION),
        record=Record(
            state=state,
            stage=table.integer("stage", 0, 1000),
            reverting=table.flag("reverting", default=False),
            why=table.text("why", ""),
        ),
        tally=read_tally(top.table("tally")),
    )
