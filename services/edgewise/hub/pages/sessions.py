"""Who is logged in: sessions in memory, each bound to the token with which it was opened.

A browser holds a random id and nothing else. The token is looked up again with every request, so one that was revoked, has expired or has another
role now is that at once. A hub that starts anew has no sessions, and people log in again.
"""

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from edgewise.hub.pages.labelling import Labelling

LIFE_S: Final = 12 * 3600.0
"""Of a session, however much it is used."""
_MOST: Final = 1000
_ID_BYTES: Final = 32


@dataclass(slots=True)
class Session:
    """One browser that is logged in.

    Attributes:
        token: with which it was opened.
        form_key: what each form of this session carries, so that no other page can send one.
        ends_s: by the clock of `Sessions`.
        notice: what the next page is to say once, such as that a rollout was paused.
        labelling: what can be taken back.
    """

    token: str = field(repr=False)
    form_key: str = field(repr=False)
    ends_s: float
    notice: str = ""
    labelling: Labelling = field(default_factory=Labelling)

    def sent(self, form_key: str) -> bool:
        """Whether a form with this key is one of this session's."""
        return hmac.compare_digest(self.form_key.encode(), form_key.encode())

    def take_notice(self) -> str:
        """What is to be said, which was then said."""
        notice, self.notice = self.notice, ""
        return notice


class Sessions:
    """All of them. Any thread may call.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_digest: OrderedDict[bytes, Session] = OrderedDict()

    def opened(self, token: str) -> tuple[str, Session]:
        """A new session and the id by which it is found. The oldest one ends when there are too many."""
        session_id = secrets.token_urlsafe(_ID_BYTES)
        session = Session(token, secrets.token_urlsafe(_ID_BYTES), self._clock() + LIFE_S)
        with self._lock:
            self._by_digest[_digest(session_id)] = session
            if len(self._by_digest) > _MOST:
                self._by_digest.popitem(last=False)
        return session_id, session

    def found(self, session_id: str) -> Session | None:
        """The session of an id, unless it is over."""
        key = _digest(session_id)
        with self._lock:
            session = self._by_digest.get(key)
            if session is not None and session.ends_s <= self._clock():
                del self._by_digest[key]
                return None
            return session

    def close(self, session_id: str) -> None:
        """End a session, if there is one."""
        with self._lock:
            self._by_digest.pop(_digest(session_id), None)


def _digest(session_id: str) -> bytes:
    """What is compared: how long that takes tells nothing about an id."""
    return hashlib.sha256(session_id.encode()).digest()
