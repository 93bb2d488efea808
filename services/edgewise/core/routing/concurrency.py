"""How many attempts may be in flight at a site at once, learned from how long its answers take.

What is in flight is on the wire, being worked on, or waiting at the site. Only the last part does no good there: in the
gateway's own queue it could still be ordered by deadline, dropped when it expires, or go to another site. By Little's
law a site that answers X requests a second, each in B seconds when it does not wait, has X × B in flight that do not
wait. The limit aims at

    room = 2 × X × B + 4

twice what keeps the site busy, since service times vary, and a few for the smallest sites. While nothing waits, X × B
is what is in flight, and the limit doubles with each round trip that needs it. With a queue it settles at `room`.

X is counted. B is learned, and the whole difficulty is not to be fooled about it:

- A minimum would be near 0 where service times vary. B follows the mean of windows of 32 answers, quickly down and slowly
  up, and up only while the limit does not bind.
- A long queue may be a burst that is about to pass. The limit is lowered only when the least that was in flight for a
  whole window is above `room`: a queue that stays (as in CoDel). One that comes and goes at a utilisation of 0.8 is left
  alone, and a lowered limit returns to where it began once the site has been seen nearly empty.
- The site may have become slower with no queue at all, and what B was before says nothing then. So lowering the limit is a
  trial, down to a quarter, or to `room` if that is more. If as much is answered as before, what was taken away was
  waiting, and the next trial goes on from there, down to 4. If not, it was not: B is what was measured, and the limit
  goes back up to the new `room`.
- While the limit binds such a trial is made every 10 s, and less often while they find nothing new. It is how a site that
  nobody has seen without a load is learned.

Source: TCP Vegas (L. Brakmo, L. Peterson, JSAC 1995) and Netflix's concurrency-limits for limits from Little's law;
BBR (N. Cardwell et al., ACM Queue 2016) and Envoy's adaptive concurrency filter for measuring B anew under load; CoDel
(RFC 8289) for the standing queue. Unlike those, a trial compares what is answered, not how quickly: latencies that are
measured just after a change are biased, since the quick answers come first and the slow ones last.
"""

from typing import Final

_GAIN: Final = 2.0
_SPARE: Final = 4.0
_STANDING: Final = 4.0

# A window has so many answers, or fewer once it is so old.
_FIRST_SAMPLES: Final = 4
_SAMPLES: Final = 32
_FEWER_SAMPLES: Final = 8
_WINDOW_S: Final = 0.05
_LONG_WINDOW_S: Final = 1.0

_AS_MUCH: Final = 0.7
_TRIAL_RATIO: Final = 0.25
_LEAST_TRIAL: Final = 4
_TRIAL_EACH_S: Final = 10.0
_RARELY_S: Final = 60.0
_LONGEST_DRAIN: Final = 4.0

_DOWN: Final = 0.3
_UP: Final = 0.03
_PACE: Final = 0.3
_RETURN: Final = 1.25
_OVERLOAD: Final = 0.7
_CAREFUL_S: Final = 10.0
_NEVER: Final = float("-inf")


class ConcurrencyLimit:
    """The adaptive concurrency limit of one site.

    Args:
        largest: the limit never exceeds it.
        initial: what it starts with and returns to while nothing speaks against it.
        smallest: the limit never falls below it.

    Attributes:
        limit: attempts that may be in flight at once.

    Raises: ValueError: not 1 <= smallest <= largest, or initial < 1.
    """

    __slots__ = (
        "_base_s",
        "_careful_until_s",
        "_drain_until_s",
        "_draining",
        "_initial",
        "_largest",
        "_latency_s",
        "_latency_sum_s",
        "_least",
        "_long_s",
        "_lowered_s",
        "_most",
        "_needed",
        "_pace_per_s",
        "_ready_s",
        "_samples",
        "_skip",
        "_smallest",
        "_started_s",
        "_trial_each_s",
        "_trial_from",
        "_trial_pace_per_s",
        "_trial_s",
        "limit",
    )

    def __init__(self, largest: int, initial: int = 64, smallest: int = 2) -> None:
        if not 1 <= smallest <= largest:
            raise ValueError(f"1 <= smallest <= largest does not hold for {smallest}, {largest}")
        if initial < 1:
            raise ValueError(f"the initial limit is {initial}; it must be at least 1")
        self._largest = largest
        self._smallest = smallest
        self._initial = min(max(initial, smallest), largest)
        self._samples = 0
        self._latency_sum_s = 0.0
        self._least = 0
        self._most = 0
        self._skip = 0
        self._draining = False
        self.reset(_NEVER)

    def reset(self, now_s: float) -> None:
        """Forget everything: after an outage the way there, or the site, may be another one."""
        self.limit: int = self._initial
        # B and X; the mean latency of the last window.
        self._base_s = 0.0
        self._pace_per_s = 0.0
        self._latency_s = 0.0
        # A trial: the limit before it, 0 when none is on; what was answered before; when it began; how long until the
        # next.
        self._trial_from = 0
        self._trial_pace_per_s = 0.0
        self._trial_s = _NEVER
        self._trial_each_s = _TRIAL_EACH_S
        self._drain_until_s = 0.0
        self._lowered_s = _NEVER
        self._careful_until_s = _NEVER
        self._needed = _FIRST_SAMPLES
        self._begin(now_s, _WINDOW_S)

    def answered(self, latency_s: float, in_flight: int, now_s: float) -> None:
        """An answer came.

        Args:
            latency_s: since its attempt was sent.
            in_flight: attempts at the site, this one included.
        """
        if self._skip:
            self._settle(in_flight, now_s)
            return
        self._samples = samples = self._samples + 1
        self._latency_sum_s += latency_s
        if in_flight < self._least:  # noqa: PLR1730 - min() and max() would cost each answer two calls
            self._least = in_flight
        if in_flight > self._most:  # noqa: PLR1730
            self._most = in_flight
        if samples >= self._needed:
            if now_s >= self._ready_s:
                self._judge(now_s)
        elif samples >= _FEWER_SAMPLES and now_s >= self._long_s:
            self._judge(now_s)

    def overloaded(self, now_s: float) -> None:
        """The site said that it has no room: lower the limit under what was in flight, once for each round trip.

        For 10 s the limit then rises by one a window only.
        """
        self._careful_until_s = now_s + _CAREFUL_S
        if now_s - self._lowered_s < max(self._latency_s, _WINDOW_S):
            return
        self._lowered_s = now_s
        self._trial_from = 0
        in_flight = min(self.limit, self._most) if self._most else self.limit
        self.limit = max(int(in_flight * _OVERLOAD), self._smallest)
        self._drain(now_s)

    def throughput_per_s(self, now_s: float) -> float:  # noqa: ARG002 - an estimate may come to age
        """Answers a second while the site had something to do all the time; at other times the most that was seen.

        Returns: 0 when nothing is known.
        """
        return self._pace_per_s

    def expected_wait_s(self, queued: int, in_flight: int, now_s: float) -> float:
        """How long a request that is queued now would wait for room.

        Args:
            queued: requests that wait before it.
            in_flight: attempts at the site.
        Returns: 0 when there is room, or nothing is known.
        """
        before = queued + in_flight - self.limit + 1
        pace_per_s = self.throughput_per_s(now_s)
        return before / pace_per_s if before > 0 and pace_per_s > 0.0 else 0.0

    def _begin(self, now_s: float, window_s: float) -> None:
        """A new window, at least so long."""
        self._samples = 0
        self._latency_sum_s = 0.0
        self._least = self._largest + 1
        self._most = 0
        self._skip = 0
        self._draining = False
        self._started_s = now_s
        self._ready_s = now_s + window_s
        self._long_s = now_s + max(window_s, _LONG_WINDOW_S)

    def _drain(self, now_s: float) -> None:
        """A new window once no more than the limit are in flight."""
        self._draining = True
        self._skip = 1
        self._drain_until_s = now_s + _LONGEST_DRAIN * self._latency_s + _LONG_WINDOW_S

    def _settle(self, in_flight: int, now_s: float) -> None:
        if self._draining:
            if in_flight <= self.limit or now_s >= self._drain_until_s:
                # What is answered comes in waves a round trip apart, so less than one says nothing.
                self._begin(now_s, max(self._latency_s, _WINDOW_S))
            return
        self._skip -= 1
        if not self._skip:
            self._begin(now_s, _WINDOW_S)

    def _judge(self, now_s: float) -> None:
        latency_s = max(self._latency_sum_s / self._samples, 1e-9)
        limit = self.limit
        least = self._least
        binding = self._most >= limit
        per_s = self._learn_pace(now_s, busy=least > 1)
        self._latency_s = latency_s
        self._needed = _SAMPLES
        if self._trial_from:
            self._end_trial(latency_s, per_s, now_s)
            return
        base_s = self._base_s
        if not base_s:
            self._base_s = base_s = latency_s
        elif latency_s < base_s:
            self._base_s = base_s = base_s + _DOWN * (latency_s - base_s)
        elif not binding:
            self._base_s = base_s = base_s + _UP * (latency_s - base_s)

        room = _GAIN * max(per_s, self._pace_per_s) * base_s + _SPARE
        if least > room + _STANDING:
            self._try(max(room, _TRIAL_RATIO * limit), per_s, now_s)
        elif room > limit and 2 * self._most >= limit:
            self._raise(min(room, 2 * limit), now_s)
            if binding:
                self._skip = limit
            else:
                self._begin(now_s, _WINDOW_S)
        elif binding and limit > _LEAST_TRIAL and now_s - self._trial_s >= self._trial_each_s:
            self._try(_TRIAL_RATIO * limit, per_s, now_s)
        else:
            if limit < self._initial and 2 * least <= limit:
                self._raise(min(_RETURN * limit + 1.0, self._initial), now_s)
            self._begin(now_s, _WINDOW_S)

    def _raise(self, room: float, now_s: float) -> None:
        if now_s < self._careful_until_s:
            room = self.limit + 1
        self.limit = min(int(room), self._largest)

    def _try(self, room: float, per_s: float, now_s: float) -> None:
        """Lower the limit, to compare what is answered."""
        self._trial_from = self.limit
        self._trial_pace_per_s = per_s
        self._trial_s = now_s
        self.limit = max(int(room), self._smallest)
        self._drain(now_s)

    def _end_trial(self, latency_s: float, per_s: float, now_s: float) -> None:
        limit_before = self._trial_from
        limit = self.limit
        self._trial_from = 0
        if 2 * self._least < limit:
            # There was not enough to do to tell.
            self.limit = limit_before
            self._begin(now_s, _WINDOW_S)
            return
        if per_s >= _AS_MUCH * self._trial_pace_per_s and limit > _LEAST_TRIAL:
            self._try(_TRIAL_RATIO * limit, max(per_s, self._pace_per_s), now_s)
            return
        self._base_s = latency_s
        room = _GAIN * max(per_s, self._trial_pace_per_s) * latency_s + _SPARE
        self.limit = limit
        self._raise(max(room, self._smallest), now_s)
        self._skip = self.limit

    def _learn_pace(self, now_s: float, *, busy: bool) -> float:
        """Learn from this window.

        Returns: its answers a second.
        """
        lasted_s = now_s - self._started_s
        if not 0.0 < lasted_s < float("inf"):
            return 0.0
        per_s = self._samples / lasted_s
        if busy and self._pace_per_s:
            self._pace_per_s += _PACE * (per_s - self._pace_per_s)
        else:
            self._pace_per_s = max(self._pace_per_s, per_s)
        return per_s
