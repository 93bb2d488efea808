"""Waiting-time formulas, and where cloud and edge change places.

    erlang      M/M/1 and M/M/c: means, tails and quantiles, exact
    general     M/G/1 (Pollaczek-Khinchine, exact), G/G/1 and G/G/c (Kingman, Krämer-Langenbach-Belz, Allen-Cunneen, Whitt)
    station     a server whose speed depends on how many it serves; stages one behind another; time on a link
    crossover   the utilisation at which queues at the edge cost more than the way to the cloud

Times in seconds, rates a second, SCV for squared coefficient of variation. At a utilisation of 1 or more there is no
steady state: waits are infinite, which is an answer and not an error. Arguments that cannot be raise InvalidArgumentError.
"""

from edgewise.core.queueing.crossover import break_even_delay, crossover_utilisation, first_crossing
from edgewise.core.queueing.erlang import (
    erlang_b,
    erlang_c,
    mm1_mean_wait_variance_s2,
    mm1_wait_s,
    mmc_wait_quantile_s,
    mmc_wait_s,
    mmc_wait_tail,
    wait_quantile_s,
)
from edgewise.core.queueing.general import (
    allen_cunneen_wait_s,
    departure_scv,
    kingman_wait_s,
    kraemer_langenbach_belz_wait_s,
    pollaczek_khinchine_wait_s,
    whitt_correction,
    whitt_wait_s,
)
from edgewise.core.queueing.station import Occupancy, Stage, StageTime, occupancy, tandem, time_at, transfer_s

__all__ = [
    "Occupancy",
    "Stage",
    "StageTime",
    "allen_cunneen_wait_s",
    "break_even_delay",
    "crossover_utilisation",
    "departure_scv",
    "erlang_b",
    "erlang_c",
    "first_crossing",
    "kingman_wait_s",
    "kraemer_langenbach_belz_wait_s",
    "mm1_mean_wait_variance_s2",
    "mm1_wait_s",
    "mmc_wait_quantile_s",
    "mmc_wait_s",
    "mmc_wait_tail",
    "occupancy",
    "pollaczek_khinchine_wait_s",
    "tandem",
    "time_at",
    "transfer_s",
    "wait_quantile_s",
    "whitt_correction",
    "whitt_wait_s",
]
