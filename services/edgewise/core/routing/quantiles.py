"""What latency a site has had lately: quantiles over exponentially decayed logarithmic buckets.

A latency of x seconds counts in bucket floor(ln(x / 10 µs) / ln 1.01). Whatever quantile is asked for, the latency of
that rank lies in the bucket that is found, and the bucket's middle is within 0.5 % of all that lies in it.

The weight of a record halves every `half_life_s`. Instead of making the old ones lighter, new ones are made heavier;
all are scaled back long before the numbers grow too large. Only ratios of weights shape the quantiles, so a site that is
not asked keeps its shape for as long as it takes, and yields to new records the more readily the longer that was.

How much the records are worth together is Kish's effective sample size n = (sum of w)² / (sum of w²). It does not
change while nothing is recorded, and says how far out the distribution is known at all: 1/n.

Source: C. Masson, J. E. Rim, H. K. Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees", VLDB 2019 (buckets); G. Cormode et al., "Forward Decay", ICDE 2009; L. Kish, "Survey Sampling", 1965.
"""

from bisect import bisect_left
from itertools import accumulate
from math import exp, exp2, isnan, log
from typing import Final

_SMALLEST_S: Final = 10e-6
_LARGEST_S: Final = 1000.0
_BUCKET_RATIO: Final = 1.01
_PER_SECOND: Final = 1.0 / _SMALLEST_S
_BUCKETS_PER_E: Final = 1.0 / log(_BUCKET_RATIO)
# The value whose relative distance to both ends of [1, ratio) is the same.
_MIDDLE: Final = 2.0 * _BUCKET_RATIO / (1.0 + _BUCKET_RATIO)
# Room beyond both ends when a record falls outside, so that growing is rare.
_SPARE_BUCKETS: Final = 16

# The weight of new records rises in steps of at least this.
_STEP_S: Final = 0.1
_HEAVIEST: Final = 2.0**40
# A silence counts as at most this many half-lives, so that what is known never vanishes.
_LONGEST_SILENCE: Final = 30.0
_LEAST_TOTAL: Final = 1e-6

_REFRESH_S: Final = 0.5
_REFRESH_EACH_UNTIL: Final = 32
_REFRESH_RECORDS: Final = 128

# What is believed of another distribution is worth this many records at most: its own soon weigh more.
_MOST_BELIEVED: Final = 32

_RECENT: Final = 16
_WELL_KNOWN: Final = 1000.0
_LN_5: Final = log(5.0)
_LN_10: Final = log(10.0)
_LEAST_TAIL: Final = 0.02
# Where less than this part of one record lies beyond, the records end: one outlier does not hold the tail for ever.
_END_RECORDS: Final = 0.1


class LatencyQuantiles:
    """The latency distribution of one site, or of one model at one site.

    Args:
        half_life_s: a record counts half as much as one that comes this much later.

    Attributes:
        q50, q90, q95, q99, q995, q999: latency in seconds that this share of the records did not exceed, as of the last
            `refresh`; 0.0 when nothing is known. Within 0.5 % of the exact value of that rank in 10 µs to 1000 s.
            q999 of few records is raised: see `refresh`.
        count: records ever.
        effective_count: records that still count: the sum of the decayed weights, as of the last `refresh`.
        known_count: records that the distribution's shape is worth: Kish's n, as of the last `refresh`.

    Raises: ValueError: half_life_s is not above 0.
    """

    __slots__ = (
        "_counted",
        "_cumulated",
        "_edge_s",
        "_first",
        "_half_life_s",
        "_latest_s",
        "_ln_beyond",
        "_recent",
        "_refresh_count",
        "_refreshed_s",
        "_share",
        "_squares",
        "_step_s",
        "_tail_s",
        "_total",
        "_weight",
        "_weights",
        "count",
        "effective_count",
        "known_count",
        "q50",
        "q90",
        "q95",
        "q99",
        "q995",
        "q999",
    )

    def __init__(self, half_life_s: float = 60.0) -> None:
        if not half_life_s > 0.0:
            raise ValueError(f"half_life_s is {half_life_s}; it must be above 0")
        self.q50 = self.q90 = self.q95 = self.q99 = self.q995 = self.q999 = 0.0
        self.count = 0
        self.effective_count = 0.0
        self.known_count = 0.0
        self._half_life_s = half_life_s
        # Bucket number `_first` is `_weights[0]`; the list covers what was recorded, with some room.
        self._weights: list[float] = []
        self._first = 0
        # The weight of a record made now; since when; when it rises next; how many records had it or a lighter one
        # when it last rose; and the sum of the squares of theirs.
        self._weight = 1.0
        self._latest_s = float("-inf")
        self._step_s = float("-inf")
        self._counted = 0
        self._squares = 0.0
        self._refresh_count = 1
        self._refreshed_s = float("-inf")
        self._recent = [0.0] * _RECENT
        # What `log_survival` reads: cumulated weights, 1 / (total + one more record), where the records end, and the
        # logarithm of the survival and the scale of the tail from there.
        self._cumulated: list[float] = []
        self._total = 0.0
        self._share = 0.0
        self._edge_s = 0.0
        self._ln_beyond = 0.0
        self._tail_s = 0.0

    def record(self, seconds: float, now_s: float) -> None:
        """An answer took `seconds`.

        Args:
            seconds: clamped to 10 µs and 1000 s.
            now_s: a time before one that was told already counts as that one.
        Raises: ValueError: seconds is not a number.
        """
        if now_s >= self._step_s:
            self._advance(now_s)
        if not _SMALLEST_S <= seconds <= _LARGEST_S:
            seconds = _clamped(seconds)
        place = int(log(seconds * _PER_SECOND) * _BUCKETS_PER_E) - self._first
        if place >= 0:
            try:
                self._weights[place] += self._weight
            except IndexError:
                self._weights[self._place_grown(place)] += self._weight
        else:
            self._weights[self._place_grown(place)] += self._weight
        count = self.count
        self._recent[count & 15] = seconds
        self.count = count = count + 1
        if count >= self._refresh_count:
            self._refresh(now_s)

    def believe(self, other: "LatencyQuantiles") -> None:
        """Begin with the shape of another distribution, as if 32 records of it had been made here when its last one was.

        Fewer if it is worth less than that; nothing where something was recorded already, or is not known there.
        """
        if self.count or not other.count:
            return
        weights, recent, latest_s = other._weights, other._recent, other._latest_s  # noqa: SLF001 - of its own kind
        self.count = self._counted = min(other.count, _MOST_BELIEVED)
        worth = min(other.known_count, _MOST_BELIEVED)
        share = worth / sum(weights)
        self._squares = worth
        self._weights = [weight * share for weight in weights]
        self._first = other._first  # noqa: SLF001 - of its own kind
        self._recent = recent.copy()
        self._latest_s = self._step_s = latest_s
        self._refresh(latest_s)

    def refresh(self, now_s: float) -> None:
        """Bring the quantiles up to date. `record` does it by itself: each time for the first 32, then at the latest
        after an eighth more records, 128 records or 0.6 s.

        The 0.999 quantile of n < 1000 records is not known. The largest one stands for the quantile n / (n + 1), and an
        exponential tail reaches 0.999 another ln(1000 / n) scales farther out. Since few records may flatter it,

            q999 = max(m (1 + 1 / n), m + max((q90 - q50) / ln 5, q50 / 50) ln(1000 / n))

        with m the plain q999, which is the largest record as long as its weight has not gone.
        """
        if self.count:
            self._advance(now_s)
            self._refresh(now_s)

    def log_survival(self, age_s: float) -> float:
        """Natural logarithm of the probability that an answer takes longer than `age_s`.

        One more record is assumed beyond all others, so the survival at the largest is 1 / (n + 1); from there it falls
        exponentially on the tail's own scale, (q999 - q99) / ln 10 but at least q50 / 50. The largest is the one that
        less than a tenth of a record lies beyond: what has decayed to less does not hold the tail.

        Returns: at most 0, never -inf; 0 when nothing is known. Never rises with the age.
        """
        if age_s <= _SMALLEST_S or not self._total:
            return 0.0
        if age_s >= self._edge_s:
            return self._ln_beyond - (age_s - self._edge_s) / self._tail_s
        where = log(age_s * _PER_SECOND) * _BUCKETS_PER_E - self._first
        if where <= 0.0:
            return 0.0
        place = int(where)
        cumulated = self._cumulated
        if place >= len(cumulated):  # rounding at the last edge
            return self._ln_beyond
        below = cumulated[place - 1] if place else 0.0
        below += (cumulated[place] - below) * (where - place)
        # Of total + one more record; with the rounding of the sum it must not pass what lies beyond.
        return max(log(1.0 - below * self._share), self._ln_beyond)

    def recently(self, now_s: float) -> float:
        """Median of the last 16 records, to notice that everything has changed.

        Returns: seconds; 0.0 when nothing was recorded within the last half-life.
        """
        if not self.count or now_s - self._latest_s > self._half_life_s:
            return 0.0
        newest = sorted(self._recent[: self.count])
        middle = len(newest) // 2
        return newest[middle] if len(newest) & 1 else 0.5 * (newest[middle - 1] + newest[middle])

    def snapshot(self) -> dict[str, float]:
        """The public attributes by name; seconds and numbers of records."""
        return {
            "count": self.count,
            "effective_count": self.effective_count,
            "known_count": self.known_count,
            "q50_s": self.q50,
            "q90_s": self.q90,
            "q95_s": self.q95,
            "q99_s": self.q99,
            "q995_s": self.q995,
            "q999_s": self.q999,
        }

    def _place_grown(self, place: int) -> int:
        """Make room for a bucket outside the list: where it is then."""
        weights = self._weights
        if not weights:
            self._first += place - _SPARE_BUCKETS
            weights.extend([0.0] * (2 * _SPARE_BUCKETS + 1))
            return _SPARE_BUCKETS
        if place >= 0:
            weights.extend([0.0] * (place - len(weights) + 1 + _SPARE_BUCKETS))
            return place
        self._first += place - _SPARE_BUCKETS
        weights[:0] = [0.0] * (_SPARE_BUCKETS - place)
        return _SPARE_BUCKETS

    def _advance(self, now_s: float) -> None:
        """Raise the weight of new records to that of `now_s`."""
        latest_s = self._latest_s
        if now_s < latest_s:
            return
        if self.count:
            self._squares += (self.count - self._counted) * self._weight * self._weight
            self._counted = self.count
            self._weight *= exp2(min((now_s - latest_s) / self._half_life_s, _LONGEST_SILENCE))
            if self._weight > _HEAVIEST:
                self._scale_back()
            if now_s - self._refreshed_s > _REFRESH_S:
                self._refresh_count = self.count + 1
        self._latest_s = now_s
        self._step_s = now_s + _STEP_S

    def _scale_back(self) -> None:
        total = sum(self._weights)
        factor = max(1.0 / self._weight, _LEAST_TOTAL / total)
        nothing = total * 1e-15
        weights = [weight * factor if weight > nothing else 0.0 for weight in self._weights]
        # What has decayed to nothing is forgotten, and the list shrinks with it.
        start = next(place for place, weight in enumerate(weights) if weight)
        stop = next(place for place in range(len(weights), 0, -1) if weights[place - 1])
        self._weights = weights[start:stop]
        self._first += start
        self._squares *= factor * factor
        self._weight = 1.0

    def _refresh(self, now_s: float) -> None:
        cumulated = list(accumulate(self._weights))
        total = cumulated[-1]
        weight = self._weight
        squares = self._squares + (self.count - self._counted) * weight * weight
        known = total * total / squares

        def value_s(share: float) -> float:
            # A rank that rounding lifts over a bucket's end by less than any record's weight stays in it.
            place = bisect_left(cumulated, total * share * (1.0 - 1e-12))
            return _SMALLEST_S * _MIDDLE * exp((place + first) / _BUCKETS_PER_E)

        first = self._first
        self.q50 = q50 = value_s(0.5)
        self.q90 = q90 = value_s(0.9)
        self.q95 = value_s(0.95)
        self.q99 = q99 = value_s(0.99)
        self.q995 = value_s(0.995)
        q999 = value_s(0.999)
        least_tail_s = _LEAST_TAIL * q50
        if known < _WELL_KNOWN:
            scale_s = max((q90 - q50) / _LN_5, least_tail_s)
            q999 = max(q999 * (1.0 + 1.0 / known), q999 + scale_s * log(_WELL_KNOWN / known))
        self.q999 = q999
        self.effective_count = total / weight
        self.known_count = known

        end = bisect_left(cumulated, total * (1.0 - _END_RECORDS / (known + 1.0))) + 1
        self._cumulated = cumulated
        self._total = total
        self._share = known / (total * (known + 1.0))
        self._edge_s = _SMALLEST_S * exp((first + end) / _BUCKETS_PER_E)
        self._ln_beyond = -log(known + 1.0)
        self._tail_s = max((q999 - q99) / _LN_10, least_tail_s)

        count = self.count
        self._refresh_count = count + (1 if count < _REFRESH_EACH_UNTIL else min(count >> 3, _REFRESH_RECORDS))
        self._refreshed_s = now_s


def _clamped(seconds: float) -> float:
    if isnan(seconds):
        raise ValueError("a latency must be a number")
    return min(max(seconds, _SMALLEST_S), _LARGEST_S)
