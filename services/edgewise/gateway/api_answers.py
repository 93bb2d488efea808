"""What the Kubernetes API answers: objects, and errors that people can read."""

import json
from collections.abc import Mapping
from typing import Any


class ApiAnswerError(Exception):
    """The API answered with an error, or with what cannot be read.

    Attributes:
        status: as in HTTP; 0 where the answer itself was malformed.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def document_of(content: bytes) -> Mapping[str, Any]:
    """The object that an answer or an event is.

    Raises: ApiAnswerError: it is none.
    """
    try:
        document = json.loads(content)
    except ValueError:
        raise ApiAnswerError(0, "it answers with something that is not JSON") from None
    if not isinstance(document, dict):
        raise ApiAnswerError(0, "it answers with something that is no object")
    return document


def told_in(body: bytes | str | None) -> str:
    """What the body of an error says; "" where it says nothing."""
    try:
        return str(json.loads(body or b"")["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def why_of(error: Exception) -> str:
    """What went wrong, in one line."""
    if isinstance(error, ApiAnswerError):
        return f"{error} ({error.status})" if error.status else str(error)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]
