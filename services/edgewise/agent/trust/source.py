"""Where metadata and target files come from: the hub over HTTP, within limits of time.

Limits of length are TUF's: each file has a greatest length before it is asked for.
"""

import contextlib
import email.utils
import socket
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

import httpx
from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError, SlowRetrievalError
from tuf.ngclient.fetcher import FetcherInterface

from edgewise.trust.tuf_files import MAX_TARGET_BYTES, TIMESTAMP_FILE, check_not_carried

GRACE_S: Final = 30.0
"""How long an answer's head may take, and a file on top of what its length is given."""
SLOWEST_BYTES_PER_S: Final = 1024.0
STALL_S: Final = 15.0


class Source(FetcherInterface):
    """A fetcher that says what it asked for last.

    Attributes:
        name: the last part of the last URL, for messages.
        ahead_s: by how much the other side's clock was ahead of this machine's when it answered last; None when it said no time.
        carries: whether what it gives out was carried here, so that what was signed for a bundle counts.
        expired_means: what it may mean that what it gives out has expired, for people.
    """

    name: str = ""
    ahead_s: float | None = None
    carries: bool = False
    expired_means: str = "an old state that is held on to, or a hub that no longer signs"

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """See `FetcherInterface`.

        Raises: PermissionDeniedError: it is a timestamp for a bundle, and was not carried here; before anybody remembers it.
        """
        content = super().download_bytes(url, max_length)
        if not self.carries and url.endswith(f"/{TIMESTAMP_FILE}"):
            check_not_carried(content)
        return content

    @abstractmethod
    def _fetch(self, url: str) -> Iterator[bytes]:
        """See `FetcherInterface`."""


class HubSource(Source):
    """Fetches from the hub.

    Args:
        client: with the site's token; none other uses it at the same time, since what takes too long is cut off.
        clock: the wall clock, seconds since the epoch.
        grace_s, stall_s, slowest_bytes_per_s: a file may take `grace_s` and as long as its bytes take at the slowest rate, and no single
            wait may take longer than `stall_s`.
    """

    def __init__(
        self,
        client: httpx.Client,
        *,
        clock: Callable[[], float] = time.time,
        grace_s: float = GRACE_S,
        stall_s: float = STALL_S,
        slowest_bytes_per_s: float = SLOWEST_BYTES_PER_S,
    ) -> None:
        self._client = client
        self._clock = clock
        self._grace_s = grace_s
        self._timeout = httpx.Timeout(stall_s)
        self._slowest_bytes_per_s = slowest_bytes_per_s
        self._socket: socket.socket | None = None
        self._late = False

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.name = url.rpartition("/")[2]
        began_s = time.monotonic()
        self._late = False
        # A head that comes byte by byte never runs into the limit of one wait: its connection is shut down from outside.
        alarm = threading.Timer(self._grace_s, self._shut_down)
        alarm.daemon = True
        alarm.start()
        try:
            with self._client.stream(
                "GET",
                url,
                headers={"Accept-Encoding": "identity"},
                timeout=self._timeout,
                extensions={"trace": self._trace},
                follow_redirects=False,
            ) as response:
                alarm.cancel()
                self._look_at(response)
                received = 0
                for chunk in response.iter_raw():
                    received += len(chunk)
                    if received > MAX_TARGET_BYTES:
                        # Lengths are given by signed metadata, and a key may have been stolen.
                        raise DownloadLengthMismatchError(url)
                    if time.monotonic() - began_s > self._grace_s + received / self._slowest_bytes_per_s:
                        raise SlowRetrievalError(url)
                    yield chunk
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            if isinstance(error, httpx.ReadTimeout) or time.monotonic() - began_s >= self._grace_s:
                raise SlowRetrievalError(url) from error
            raise DownloadError(url) from error
        finally:
            alarm.cancel()

    def _look_at(self, response: httpx.Response) -> None:
        date = response.headers.get("Date", "")
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            self.ahead_s = email.utils.parsedate_to_datetime(date).timestamp() - self._clock()
        if response.status_code != HTTPStatus.OK:
            raise DownloadHTTPError(self.name, response.status_code)

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
            self._socket = info["return_value"].get_extra_info("socket")
            if self._late:
                self._shut_down()

    def _shut_down(self) -> None:
        self._late = True
        connected = self._socket
        if connected is not None:
            with contextlib.suppress(OSError):
                # Of the plain class: TLS has nothing more to say here.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)
