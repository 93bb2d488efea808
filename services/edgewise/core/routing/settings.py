"""What the router is built with. None of it is a timing of a network: those are learned. They are floors, ratios and counts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """Seconds, ratios and counts.

    Attributes:
        grain_s: how often something in flight is looked at.
        half_life_s: of what is learned about latencies.
        unknown_latency_s: an answer later than this is overdue while nothing is known of a path.
        late_floor_s, hedge_floor_s, overdue_floor_s: learned thresholds do not go below these.
        hedge_gain_ratio: of the median: a tail shorter than this is not worth a hedge.
        overdue_factor: times the learned q99.9.
        silence_evidence: nats: a silence less likely than e to the minus this is no coincidence.
        overdue_count: so many overdue attempts without one answer like them mean that such answers do not come any more.
        slow_factor, slow_margin_s: a median above factor times q95 plus margin means that a site is not what it was.
        suspect_s: a suspect link that stays silent this long is down; longer where its answers take longer.
        last_site_factor: the last site that is left is given so many times as long.
        kept_s: a request that only a lost site could answer is kept this long.
        idle_probe_s: an idle link is asked this often.
        probe_interval_s: a link that is down is asked this often.
        probe_timeout_s, longest_probe_s: at least and at most; longer where answers take longer, or none came in time.
        good_probes: so many in a row prove a link.
        max_probe_bytes: probes are not larger than this.
        ramp_shares: of requests, step by step.
        ramp_step_s: at least; longer where answers take longer.
        errors_in_a_row: so many answers that blame the site mean that it does not work; twice as many that it has no room.
        ramp_errors_in_a_row: and on the ramp.
        unknown_patience: an answer of a path that nothing is known of is held against the link this many times later.
        resets_in_a_row: so many broken connections mean that the link does not.
        stall_s: when the caller was away this long, what looks late may only not have been read yet.
        max_models: models whose latencies are learned apart.
        retry_after_s: what rejected clients are told when nothing better is known.
    """

    grain_s: float = 0.004
    half_life_s: float = 60.0
    unknown_latency_s: float = 1.0
    late_floor_s: float = 0.002
    hedge_floor_s: float = 0.010
    overdue_floor_s: float = 0.030
    hedge_gain_ratio: float = 0.05
    overdue_factor: float = 1.3
    silence_evidence: float = 14.0
    overdue_count: int = 4
    slow_factor: float = 1.3
    slow_margin_s: float = 0.030
    suspect_s: float = 0.25
    last_site_factor: float = 4.0
    kept_s: float = 1.0
    idle_probe_s: float = 1.0
    probe_interval_s: float = 0.2
    probe_timeout_s: float = 0.5
    longest_probe_s: float = 4.0
    good_probes: int = 3
    max_probe_bytes: int = 256 * 1024
    ramp_shares: tuple[float, ...] = (0.01, 0.05, 0.25, 0.5, 1.0)
    ramp_step_s: float = 0.15
    errors_in_a_row: int = 5
    ramp_errors_in_a_row: int = 3
    unknown_patience: float = 5.0
    resets_in_a_row: int = 3
    stall_s: float = 0.02
    max_models: int = 64
    retry_after_s: float = 1.0
