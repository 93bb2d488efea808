"""What TUF refuses, in words for the person who reads the agent's log."""

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    LengthOrHashMismatchError,
    RepositoryError,
    SlowRetrievalError,
    UnsignedMetadataError,
)

from edgewise.core.errors import EdgewiseError, FailedPreconditionError, PermissionDeniedError, UnavailableError
from edgewise.protocols.documents import time_text

_WORDS: tuple[tuple[type[RepositoryError], str], ...] = (
    (
        BadVersionNumberError,
        "a version in it goes back behind what this site has seen (rollback; or was the hub restored from an older backup?)",
    ),
    (UnsignedMetadataError, "it is not signed by enough of the keys that the root names (wrong key)"),
    (
        LengthOrHashMismatchError,
        "it is not the file that the signed metadata name (tampered with, or mixed from several times)",
    ),
)


def refusal(error: RepositoryError | DownloadError, name: str) -> EdgewiseError:
    """The error for people.

    Args:
        name: of the file that was asked for last.
    """
    if isinstance(error, DownloadError):
        return _not_brought(error, name)
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return PermissionDeniedError(f"the hub's {name} is refused: {words}")
    return PermissionDeniedError(f"the hub's {name} is refused: it is no TUF metadata that can be read (tampered with)")


def expired(name: str, at_s: float | None, means: str, clock_hint: str) -> FailedPreconditionError:
    """The error for metadata that have expired.

    Args:
        name: of the file that was asked for last.
        at_s: when, seconds since the epoch; None when that is not known.
        means: what it may mean.
        clock_hint: what is known about this machine's clock, "" for nothing.
    """
    when = "" if at_s is None else f" at {time_text(at_s)}"
    return FailedPreconditionError(
        f"the hub's {name} leads to metadata that have expired{when} ({means}); nothing new is installed{clock_hint}"
    )


def _not_brought(error: DownloadError, name: str) -> EdgewiseError:
    match error:
        case DownloadLengthMismatchError():
            return PermissionDeniedError(f"the hub's {name} is refused: it is longer than it may be (endless data)")
        case SlowRetrievalError():
            return UnavailableError(f"the hub's {name} came too slowly and was given up (slow retrieval)")
        case DownloadHTTPError(status_code=401 | 403):
            return PermissionDeniedError(f"the hub does not let this site have {name}; is its token still valid?")
        case DownloadHTTPError(status_code=status) if status < 500:
            return FailedPreconditionError(
                f"the hub answered {status} when asked for {name}; is the URL that of a hub?"
            )
        case DownloadHTTPError(status_code=status):
            return UnavailableError(f"the hub answered {status} when asked for {name}")
        case _:
            return UnavailableError(f"the hub cannot be reached, or broke off while sending {name}")
