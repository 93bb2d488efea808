"""Which sample somebody means who types the beginning of its id."""

from typing import Final

from edgewise.core.errors import InvalidArgumentError, NotFoundError
from edgewise.hub.console.client import HubClient
from edgewise.hub.labelling.shown import ID_EXPECTED, SAMPLE_ID, SHORT_ID

_MOST_LOOKED_AT: Final = 1000
_MOST_NAMED: Final = 3


def check_id(text: str) -> None:
    """See that something can be an id, whole or shortened, before a hub is asked.

    Raises: InvalidArgumentError: it is none.
    """
    if not (SAMPLE_ID.fullmatch(text) or SHORT_ID.fullmatch(text)):
        raise InvalidArgumentError(f"found the id {text[:80]!r}, expected {ID_EXPECTED}")


def whole_id(client: HubClient, text: str) -> str:
    """The id of the sample that is meant: `text` itself where that is whole.

    Raises:
        InvalidArgumentError: it is no id, or several samples begin so.
        NotFoundError: none begins so.
    """
    check_id(text)
    if SAMPLE_ID.fullmatch(text):
        return text
    start, dash, number = text.partition("-")
    # Pictures of one request share their digits; the first of them is the one without a number.
    found = sorted({one.id.partition("-")[0] for one in client.samples({"id_start": start}, most=_MOST_LOOKED_AT)})
    if not found:
        raise NotFoundError(f"there is no sample whose id begins with {start}")
    if len(found) > 1:
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise InvalidArgumentError(
            f"{start} is the beginning of {len(found)} ids: {', '.join(found[:_MOST_NAMED])}{more}; type more of the digits"
        )
    return f"{found[0]}{dash}{number}"
