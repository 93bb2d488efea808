"""How many attempts may be in flight at a site at once, learned from what it answers.

What is in flight is on the wire, being worked on, or waiting at the site. Only the last part does no good there: in the
gateway's own queue it could still be ordered by deadline, dropped when it expires, or go to another site. A site that
answers X requests a second, each in B seconds when it does not wait, has X × B of them in flight (Little's law). The
limit aims at

    room = 2 × X × B + 4

twice that, since service times vary, and a few for the smallest sites. While nothing waits, X × B is what is in flight,
so the limit doubles with each round trip that needs it; with a queue it settles.

X is counted. B has to be learned, and the whole difficulty is not to be fooled about it:

- A minimum is near 0 where service times vary. B follows the mean of windows of 32 answers, quickly down, and slowly up
  while the limit does not bind.
- After an idle time, or a change, the quick answers come first. Windows in which fewer are answered than Little's law
  demands of what is in flight teach nothing about B.
- A long queue may be a burst that is about to pass. The limit is lowered only when the least that was in flight for a
  whole window is well above `room`: a queue that stays (as in CoDel). One that comes and goes at a utilisation of 0.8 is
  left alone, and a lowered limit returns to where it began once the site is seen nearly empty.
- The site may have become slower without any queue. So lowering the limit is a *trial*: if as much is answered as
  before, what was taken away had been waiting. If not, B = limit / X now, and the limit goes to the new `room`.
- B may be out of date, or never have been seen without a load. Then trials go on, to a quarter each time, until less is
  answered or 3 are left: when more in flight has brought no more answers, and every 5 s (60 s while that changes
  nothing) as long as the limit binds. At a far site none
  is made while something waits, for it would wait for long.

Source: TCP Vegas (L. Brakmo, L. Peterson, JSAC 1995) and Netflix's concurrency-limits, for limits from Little's law;
BBR (N. Cardwell et al., ACM Queue 2016) and Envoy's adaptive concurrency filter, for measuring B anew under load; CoDel
(RFC 8289), for the standing queue. Those compare latencies at a very low limit. A trial compares what is answered: that
is not biased just after a change, and it need not go so low that a site with many workers starves.
"""

from typing import Final

from edgewise.core.routing.answer_window import AnswerWindow

# Of `room`.
_GAIN: Final = 2.0
_SPARE: Final = 4.0
# So many times `room` in flight all the time is a queue that stays.
_STANDING: Final = 1.5

# A window has so many answers. The first one only shows that answers come.
_FIRST_SAMPLES: Final = 4
_SAMPLES: Final = 32
_WINDOW_S: Final = 0.05
_LONG_WINDOW_S: Final = 1.0

# In a steady state X × latency is what is in flight.
_STEADY: Final = 0.7
# How much of the way B and X go to what a window shows; X goes all of it when that is not the same any more.
_DOWN: Final = 0.3
_UP: Final = 0.03
_PACE: Final = 0.3
_SAME: Final = 0.6

# Before B is known the limit is raised once, since an unhindered start may need more than `initial`.
_FIRST_RAISE: Final = 1.5
# So many times as much in flight has to bring so many times as many answers.
_MORE: Final = 1.4
_MORE_ANSWERED: Final = 1.2

_TRIAL_RATIO: Final = 0.25
_LEAST_TRIAL: Final = 3
_TRIAL_EACH_S: Final = 5.0
_RARELY_S: Final = 60.0
# As much is answered; in between, more answers have to decide.
_AS_MUCH: Final = 0.7
_MUCH_LESS: Final = 0.45
_MOST_SAMPLES: Final = 128
_ALIKE: Final = 1.5
# A trial takes some round trips; where an answer takes longer than this, what waits meanwhile would wait for too long.
_FAR_S: Final = 0.1
# One window may have been a lucky one.
_CAUTION: Final = 0.85
_LONGEST_DRAIN: Final = 4.0

_RETURN: Final = 1.25
_OVERLOAD: Final = 0.7
# Refusals lower the limit to this part of X × B, or of `initial` while that is unknown: a site that refuses everything
# has another reason than its load, and is to be of use as soon as it is well.
_LEAST_USE: Final = 0.5
_LEAST_INITIAL: Final = 0.125
_CAREFUL_S: Final = 10.0
# A second of latency: a far site has few round trips to rise in.
_CAREFUL_RAISE: Final = 4.0
_MOST_CAREFUL_RAISE: Final = 0.5
_CAREFUL_WINDOW_S: Final = 0.15
_NEVER: Final = float("-inf")


class ConcurrencyLimit:
    """The adaptive concurrency limit of one site.

    An overload of a site whose B is known is over after half a second; of one that was never seen, after one or two.

    Args:
        largest: the limit never exceeds it.
        initial: what it starts with, and returns to while nothing speaks against it.
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
        "_known",
        "_largest",
        "_latency_s",
        "_least_trial",
        "_lowered_s",
        "_once_in_flight",
        "_once_per_s",
        "_pace_per_s",
        "_quickest_s",
        "_skip",
        "_smallest",
        "_trial_each_s",
        "_trial_from",
        "_trial_per_s",
        "_trial_s",
        "_waited_for",
        "_window",
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
        self._least_trial = min(max(_LEAST_TRIAL, smallest), largest)
        self._window = AnswerWindow(_FIRST_SAMPLES)
        self.reset(_NEVER)

    def reset(self, now_s: float) -> None:  # noqa: ARG002 - all events say when
        """Forget everything: after an outage the way there, or the site, may be another one."""
        self.limit: int = self._initial
        # B, 0 before it was measured at all; whether it was measured when nothing can have waited; and X.
        self._base_s = 0.0
        self._known = False
        self._pace_per_s = 0.0
        # What was answered a second when so much was in flight, to compare with until B is known.
        self._once_per_s = 0.0
        self._once_in_flight = 0
        # Mean latency of the last window, and of the quickest.
        self._latency_s = 0.0
        self._quickest_s = 0.0
        # A trial: the limit before it, 0 when none is on, and what was answered a second before. When B was last tried
        # anew, and how long until the next time.
        self._trial_from = 0
        self._trial_per_s = 0.0
        self._trial_s = _NEVER
        self._waited_for = False
        self._trial_each_s = _TRIAL_EACH_S
        self._drain_until_s = 0.0
        self._lowered_s = _NEVER
        self._careful_until_s = _NEVER
        self._window.needed = _FIRST_SAMPLES
        # Answers that belong to no window: the first only starts the clock.
        self._skip = 1
        self._draining = False

    def answered(self, latency_s: float, in_flight: int, now_s: float) -> None:
        """An answer came, and not one that says `overloaded`.

        Args:
            latency_s: since its attempt was sent.
            in_flight: attempts at the site, this one included.
        """
        if self._skip:
            self._settle(in_flight, now_s)
            return
        if self._window.take(latency_s, in_flight, now_s):
            self._judge(now_s)

    def overloaded(self, now_s: float) -> None:
        """The site said that it has no room: lower the limit under what was in flight, once for each round trip.

        For 10 s the limit then rises slowly: by one a window, or, where an answer takes long, by a part of itself.
        """
        self._careful_until_s = now_s + _CAREFUL_S
        if now_s - self._lowered_s < max(self._latency_s, _WINDOW_S):
            return
        self._lowered_s = now_s
        self._trial_from = 0
        in_flight = min(self.limit, self._window.most) if self._window.most else self.limit
        least = _LEAST_USE * self._pace_per_s * self._base_s or _LEAST_INITIAL * self._initial
        self.limit = max(int(in_flight * _OVERLOAD), min(int(least), self.limit), self._smallest)
        self._drain(now_s)

    def waited_for(self, now_s: float) -> None:
        """Something has to wait for room: no trial is begun before `waited_for_no_more`, and one that takes long ends."""
        self._waited_for = True
        if self._trial_from and self._latency_s > _FAR_S:
            self.limit = max(self.limit, self._trial_from)
            self._trial_from = 0
            self._begin(now_s)

    def waited_for_no_more(self) -> None:
        """Nothing waits for room."""
        self._waited_for = False

    @property
    def latency_s(self) -> float:
        """The mean of the last window; 0 when nothing is known."""
        return self._latency_s

    def throughput_per_s(self, now_s: float) -> float:  # noqa: ARG002 - an estimate may come to age
        """Answers a second while the site had something to do all the time; at other times the most that was seen.

        Returns: 0 when nothing is known.
        """
        return self._pace_per_s

    def _begin(self, now_s: float) -> None:
        """A new window. Answers come in waves a round trip apart, so it is not shorter than that."""
        window_s = min(max(self._quickest_s, _WINDOW_S), _LONG_WINDOW_S) if self._quickest_s else 0.0
        # A limit that was lowered has to rise again round trip by round trip, not once in many of them.
        careful = now_s < self._careful_until_s
        long_s = max(self._latency_s, _CAREFUL_WINDOW_S) if careful else _LONG_WINDOW_S
        self._window.begin(now_s, at_least_s=window_s, long_s=long_s, most_in_flight=self._largest)
        self._skip = 0
        self._draining = False

    def _drain(self, now_s: float) -> None:
        """A new window once no more than the limit are in flight."""
        self._draining = True
        self._skip = 1
        self._drain_until_s = now_s + _LONGEST_DRAIN * self._latency_s + _LONG_WINDOW_S

    def _settle(self, in_flight: int, now_s: float) -> None:
        if self._draining:
            if in_flight <= self.limit or now_s >= self._drain_until_s:
                self._begin(now_s)
            return
        self._skip -= 1
        if not self._skip:
            self._begin(now_s)

    def _judge(self, now_s: float) -> None:
        window = self._window
        latency_s = window.latency_s
        per_s = window.per_s(now_s)
        if self._trial_from:
            self._judge_trial(per_s, now_s)
            return
        limit = self.limit
        least = window.least
        binding = window.most >= limit
        # Just after a change the quick answers come first; while that lasts Little's law does not hold.
        steady = per_s * latency_s >= _STEADY * (window.in_flight - 1.0)
        self._latency_s = latency_s
        self._quickest_s = min(self._quickest_s or latency_s, latency_s)
        if window.needed > _FIRST_SAMPLES:
            self._learn(latency_s, per_s, binding=binding, steady=steady)
        window.needed = _SAMPLES
        room = _GAIN * max(per_s, self._pace_per_s) * self._base_s + _SPARE
        if not steady and per_s < _SAME * self._pace_per_s:
            # Fewer answers because they now take longer to come, or because there is less to answer them: wait and see.
            self._begin(now_s)
        elif least > _STANDING * room and self._base_s and (steady or self._known):
            self._try(room if self._known else max(room, _TRIAL_RATIO * limit), per_s, now_s)
        elif binding and limit > self._least_trial and self._is_doubtful(room, latency_s, now_s):
            self._try(_TRIAL_RATIO * limit, per_s, now_s)
        else:
            wanted = min(room, 2 * limit) if self._base_s else _FIRST_RAISE * self._initial
            if wanted > limit and 2 * window.most >= limit:
                self._raise(wanted, now_s)
            elif limit < self._initial and 2 * least <= limit:
                self._raise(min(_RETURN * limit + 1.0, self._initial), now_s)
            if binding and self.limit > limit and not self._known:
                self._skip = limit
            else:
                self._begin(now_s)

    def _is_doubtful(self, room: float, latency_s: float, now_s: float) -> bool:
        """Whether B has to be measured at a lower limit, the limit being in the way."""
        if now_s < self._careful_until_s or (self._waited_for and latency_s > _FAR_S):
            return False
        if self._known:
            self._known = room > self.limit or now_s - self._trial_s < self._trial_each_s
            return not self._known
        if self._base_s and room <= self.limit:
            return True
        # More in flight than there once was, and no more answered.
        if self.limit < _MORE * self._once_in_flight:
            return False
        # By Little's law: what is counted in one window varies more than latencies do.
        per_s = self.limit / latency_s
        if per_s < _MORE_ANSWERED * self._once_per_s:
            return True
        # As much more answered as there was more in flight: nothing waited.
        self._known = per_s * self._once_in_flight > _STEADY * self._once_per_s * self.limit
        self._once_per_s = per_s
        self._once_in_flight = self.limit
        return False

    def _learn(self, latency_s: float, per_s: float, *, binding: bool, steady: bool) -> None:
        """Learn B and X from this window."""
        base_s = self._base_s
        if steady:
            if not base_s:
                self._base_s = latency_s
            elif latency_s < base_s:
                self._base_s = base_s + _DOWN * (latency_s - base_s)
            elif not binding:
                self._base_s = base_s + _UP * (latency_s - base_s)
            if self._window.least <= 2:
                self._known = True
        if not self._pace_per_s:
            self._pace_per_s = per_s
            self._once_per_s = self._window.least / latency_s
            self._once_in_flight = self._window.least
        elif self._window.least > 1:
            known_per_s = self._pace_per_s
            if not steady or _SAME * known_per_s < per_s < known_per_s / _SAME:
                self._pace_per_s = known_per_s + _PACE * (per_s - known_per_s)
            else:
                # Another site than it was: B may be another one too.
                self._pace_per_s = per_s
                self._trial_each_s = _TRIAL_EACH_S
        else:
            self._pace_per_s = max(self._pace_per_s, per_s)

    def _raise(self, room: float, now_s: float) -> None:
        if now_s < self._careful_until_s:
            raise_ratio = min(_CAREFUL_RAISE * self._latency_s, _MOST_CAREFUL_RAISE)
            room = min(room, self.limit + max(1, int(raise_ratio * self.limit)))
        self.limit = min(int(room), self._largest)

    def _try(self, room: float, per_s: float, now_s: float) -> None:
        """Lower the limit, to compare what is answered."""
        outdated = per_s < _SAME * self._pace_per_s
        self._trial_per_s = per_s if outdated else max(self._pace_per_s, _CAUTION * per_s)
        self._trial_from = self.limit
        if not self._known:
            self._trial_s = now_s
        self.limit = max(int(room), self._least_trial)
        self._window.needed = _SAMPLES
        self._drain(now_s)

    def _judge_trial(self, per_s: float, now_s: float) -> None:
        limit_before = self._trial_from
        limit = self.limit
        if 2 * self._window.least < limit:
            # There was not enough to do to tell.
            self._trial_from = 0
            self.limit = limit_before
            self._begin(now_s)
            return
        as_much = per_s / self._trial_per_s
        if _MUCH_LESS < as_much < _AS_MUCH and self._window.samples < _MOST_SAMPLES and now_s < self._window.long_s:
            self._window.needed = min(2 * self._window.samples, _MOST_SAMPLES)
            return
        self._trial_from = 0
        self._window.needed = _SAMPLES
        if as_much >= _AS_MUCH:
            self._pace_per_s = self._trial_per_s + _PACE * (per_s - self._trial_per_s)
            if self._known:
                self._skip = limit
                return
            if limit > self._least_trial:
                self._try(_TRIAL_RATIO * limit, per_s, now_s)
                return
        # By Little's law.
        base_s = limit / per_s
        changed = not base_s / _ALIKE < self._base_s < base_s * _ALIKE
        self._trial_each_s = _TRIAL_EACH_S if changed else min(2.0 * self._trial_each_s, _RARELY_S)
        self._base_s = self._quickest_s = base_s
        self._known = True
        room = _GAIN * max(per_s, self._trial_per_s) * base_s + _SPARE
        self.limit = min(limit_before, int(room))
        if room > limit_before:
            self._raise(room, now_s)
        self._skip = self.limit
