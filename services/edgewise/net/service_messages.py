"""Messages of the services that servers have beside their own: health, reflection."""

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from edgewise.core.errors import InvalidArgumentError

_MessageT = TypeVar("_MessageT", bound=Message)


def parse_message(message_type: type[_MessageT], data: bytes) -> _MessageT:
    """A message of that type.

    Raises: InvalidArgumentError: the bytes are none.
    """
    try:
        return message_type.FromString(data)
    except DecodeError:
        raise InvalidArgumentError(f"The request is not a serialized {message_type.__name__}") from None
