"""What to expect of a scenario, from a calibration of half a minute: who wins on each network, from which load on, and how sure that is."""

import math
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TextIO

from edgewise.core.errors import CancelledError, EdgewiseError, UnavailableError
from edgewise.study import prediction, study_directory
from edgewise.study.calibration_pool import pooled
from edgewise.study.cells import CLOUD, EDGE, GATEWAY, Cell
from edgewise.study.concluding import predicted
from edgewise.study.journal import Contents, Heading
from edgewise.study.measuring import NOT_CALIBRATED
from edgewise.study.prediction import Crossover
from edgewise.study.progress import Progress
from edgewise.study.results import Calibration, NetworkProfile, Prediction
from edgewise.study.runner import StopRequest, heading_of, measuring
from edgewise.study.scenario import Scenario
from edgewise.study.study_directory import Taking

_HEADS: Final = ("load", "choose", "target", "mean ms", "p50 ms", "p99 ms", "busy")


@dataclass(frozen=True, slots=True)
class Advice:
    """What is expected.

    Attributes:
        heading: of the study that would be measured.
        calibrations: what it rests on.
        predictions: of the steady state of every cell that can be predicted.
        missing: what could not be calibrated, with the reason.
    """

    heading: Heading
    calibrations: tuple[Calibration, ...]
    predictions: tuple[Prediction, ...]
    missing: Mapping[str, str]


def advise(
    scenario: Scenario,
    *,
    profiles: Mapping[str, NetworkProfile],
    stream: TextIO = sys.stderr,
    cache: Path | None = None,
) -> Advice:
    """Calibrate a scenario's targets, and predict its cells.

    Raises:
        UnavailableError: nothing could be calibrated.
        CancelledError: it was stopped.
        EdgewiseError: the scenario's parts cannot be started.
    """
    progress = Progress(stream)
    stop = StopRequest()
    # There are no rounds of runs to calibrate between.
    scenario = replace(scenario, calibrate=True, mlperf=None, run=replace(scenario.run, repeats=1))
    heading = heading_of(scenario, profiles)
    with tempfile.TemporaryDirectory(prefix="edgewise-advise-") as place:
        directory = Path(place) / "study"
        with (
            study_directory.take(directory, scenario, heading, Taking()) as journal,
            stop.heard(progress.say),
            measuring(scenario, directory, journal, stop=stop, progress=progress, cache=cache) as runs,
        ):
            try:
                runs.calibrations()
            except CancelledError:
                progress.close()
                raise
        progress.close()
        contents = journal.contents
    missing = {**contents.missing, **_uncalibrated(contents)}
    if not contents.calibrations:
        reason = next(iter(missing.values()), "the scenario has nothing to calibrate")
        raise UnavailableError(f"nothing could be calibrated: {reason}")
    return Advice(heading, pooled(contents.calibrations), steady(contents), missing)


def _uncalibrated(contents: Contents) -> dict[str, str]:
    """What answers, and could not be calibrated."""
    notes = contents.notes.items()
    return {name.removeprefix(NOT_CALIBRATED).strip(): text for name, text in notes if name.startswith(NOT_CALIBRATED)}


def steady(contents: Contents) -> tuple[Prediction, ...]:
    """What each cell comes to in the long run."""
    heading = contents.heading
    return predicted(
        contents,
        lambda cell, calibrated: prediction.predict(
            cell,
            calibrated,
            heading.profiles.get(cell.profile),
            arrival_scv=heading.arrival_scv,
            route=heading.route,
            seed=heading.seed,
        ),
    )


def advice_text(advice: Advice, scenario: Scenario) -> str:
    """The advice for people: for each model, protocol and network who wins at which load, and where that turns."""
    lines = [f"{advice.heading.title}: what to expect, by calibration", ""]
    lines += [_calibration_line(one) for one in advice.calibrations]
    for setting in dict.fromkeys(_setting(one.cell) for one in advice.predictions):
        of_setting = [one for one in advice.predictions if _setting(one.cell) == setting]
        for profile in dict.fromkeys(one.cell.profile for one in of_setting if one.cell.profile) or [""]:
            here = [one for one in of_setting if one.cell.profile in {"", profile}]
            lines += ["", f"{' '.join(filter(None, setting))}, {_network(advice, profile)}"]
            lines += _table(here)
            lines += _turning(advice, scenario, profile, setting)
    lines += ["", *_notes(advice)]
    return "\n".join(lines).rstrip() + "\n"


def _setting(cell: Cell) -> tuple[str, str, str]:
    return cell.model, cell.protocol, cell.batching


def _calibration_line(found: Calibration) -> str:
    names = " ".join(filter(None, (found.target, found.model, found.protocol, found.batching)))
    error = f" ±{1.96 * found.capacity_error_ratio:.0%}" if found.capacity_error_ratio else ""
    return (
        f"  {names}: {found.base_ms:.1f} ms alone, {found.capacity_per_s[-1]:.0f} predictions/s at most{error}, "
        f"service SCV {found.service_scv:.2f}, {found.request_bytes} bytes up, {found.response_bytes} down"
    )


def _network(advice: Advice, profile: str) -> str:
    known = advice.heading.profiles.get(profile)
    if known is None:
        return f"{profile}:" if profile else "no network between:"
    return f"{profile} ({known.rtt_ms:g} ms RTT):"


def _table(ones: Sequence[Prediction]) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [_HEADS]
    for load in dict.fromkeys(one.cell.load for one in ones):
        ranked = sorted((one for one in ones if one.cell.load == load), key=lambda one: one.mean_ms)
        for place, one in enumerate(ranked):
            first = (f"{load:g}/s", _choice(ranked)) if place == 0 else ("", "")
            rows.append((*first, *_figures(one)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    for row in rows:
        yield "  " + "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()


def _choice(ranked: Sequence[Prediction]) -> str:
    """Who is best by the mean, and whether that is sure."""
    best = ranked[0]
    if math.isinf(best.mean_ms):
        return "none can take it"
    rival = next((one for one in ranked[1:] if not math.isinf(one.mean_ms)), None)
    sure = rival is None or best.high_mean_ms < rival.low_mean_ms
    return best.cell.target if sure else f"{best.cell.target}, not sure"


def _figures(one: Prediction) -> tuple[str, ...]:
    busy = f"{one.utilisation:.0%} {one.bottleneck}"
    if math.isinf(one.mean_ms):
        return one.cell.target, "overloaded", "-", "-", busy
    mean = f"{one.mean_ms:.1f} [{one.low_mean_ms:.1f}, {one.high_mean_ms:.1f}]"
    return one.cell.target, mean, f"{one.p50_ms:.1f}", f"{one.p99_ms:.1f}", busy


def _turning(advice: Advice, scenario: Scenario, profile: str, setting: tuple[str, str, str]) -> Iterator[str]:
    network = advice.heading.profiles.get(profile)
    by_target = {one.target: one for one in advice.calibrations if (one.model, one.protocol, one.batching) == setting}
    edge, cloud = by_target.get(EDGE), by_target.get(CLOUD)
    if network is None or edge is None or cloud is None:
        return
    pooled = next((site.pooled for site in scenario.sites if site.name == CLOUD), 1)
    try:
        found = prediction.crossover(
            edge, cloud, network, pooled=pooled, arrival_scv=advice.heading.arrival_scv, seed=advice.heading.seed
        )
    except EdgewiseError as error:
        yield f"  no crossover: {error.message}"
        return
    yield f"  {crossover_text(found)}"


def _notes(advice: Advice) -> Iterator[str]:
    yield 'Means with bounds that hold for 95 % of calibrations, of the steady state; "not sure" where the best two overlap.'
    for note in dict.fromkeys(one.note for one in advice.predictions if one.note and not math.isinf(one.mean_ms)):
        yield f"Note: {note}"
    for what, reason in advice.missing.items():
        yield f"Not predicted: {what}: {reason}"
    predicted = {one.cell for one in advice.predictions}
    left = [cell for cell in advice.heading.cells if cell not in predicted and cell.name not in advice.missing]
    outages = [cell for cell in left if cell.outage]
    if outages:
        yield f"Not predicted: {len(outages)} of the cells have an outage; measure them with `edgewise study run`."
    routed = [cell for cell in left if not cell.outage and cell.target == GATEWAY]
    if routed:
        yield (
            f"Not predicted: the gateway ({len(routed)} of the cells): what its route {advice.heading.route} does depends on "
            "what it finds; measure it with `edgewise study run`."
        )


def crossover_text(found: Crossover | None) -> str:
    """Where the cloud begins to win, for people."""
    if found is None:
        return "crossover: none; the edge answers sooner at every load that both can take"
    if found.load_per_s <= 0:
        return "crossover: none; the cloud answers sooner at every load"
    never = math.isinf(found.high_load_per_s)
    high = "never" if never else f"{found.high_load_per_s:.1f}"
    high_utilisation = "never" if never else f"{found.high_utilisation:.0%}"
    return (
        f"crossover: the cloud wins from {found.load_per_s:.1f}/s on [{found.low_load_per_s:.1f}, {high}], "
        f"where the edge is {found.utilisation:.0%} busy [{found.low_utilisation:.0%}, {high_utilisation}]"
    )
