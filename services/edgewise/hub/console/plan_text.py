"""A plan as people read it before they say yes."""

from collections.abc import Iterable, Iterator

from edgewise.core.wording import counted
from edgewise.hub.console.text_tables import columns, printable
from edgewise.hub.control.planning import Plan, Problem, SitePlan, WavePlan
from edgewise.hub.pages.words import length, size


def plan_text(plan: Plan) -> str:
    """Every wave, every site, what would stop it, and who comes later."""
    lines = [_title(plan), *_problems(plan.problems, "  ")]
    for wave in plan.waves:
        lines += ["", _wave_title(wave)]
        if wave.sites:
            lines += _sites(wave)
    if plan.left_out:
        lines += ["", f"in no wave: {printable(', '.join(plan.left_out))}"]
    return "\n".join(lines)


def short_plan_text(plan: Plan) -> str:
    """A line for each wave, and every problem."""
    lines = [_title(plan), *_problems(plan.problems, "  ")]
    for wave in plan.waves:
        lines.append(f"  {_wave_title(wave)}")
        for site in wave.sites:
            lines += _problems(site.problems, f"    {site.site}: ")
    return "\n".join(lines)


def has_stops(plan: Plan) -> bool:
    """Whether something would keep the rollout, or one of its sites, from getting further."""
    sites = (site.problems for wave in plan.waves for site in wave.sites)
    return any(problem.stops for problems in (plan.problems, *sites) for problem in problems)


def _title(plan: Plan) -> str:
    sites = sum(len(wave.sites) for wave in plan.waves)
    return (
        f"{plan.model} {plan.version}: {counted(sites, 'site')} in {counted(len(plan.waves), 'wave')}, "
        f"{size(plan.fetch_bytes)} to fetch, at least {length(plan.seconds)}"
    )


def _wave_title(wave: WavePlan) -> str:
    selector = printable(wave.selector) or "every site"
    may_fail = "none may fail" if not wave.may_fail else f"{wave.may_fail} may fail"
    return (
        f"wave {wave.number + 1} {printable(wave.name)} ({selector}): {counted(len(wave.sites), 'site')}, "
        f"{wave.at_once} at once, {may_fail}, at least {length(wave.seconds)}"
    )


def _sites(wave: WavePlan) -> Iterator[str]:
    rows = [("SITE", "TIER", "RUNS", "VARIANT", "FETCHES", "TAKES"), *map(_row, wave.sites)]
    head, *lines = columns(rows, indent="  ")
    yield head
    for site, line in zip(wave.sites, lines, strict=True):
        yield line
        yield from _problems(site.problems, "    ")


def _row(site: SitePlan) -> tuple[str, ...]:
    fetches = size(site.fetch_bytes) if site.fetch_bytes else "nothing"
    if 0 < site.fetch_bytes < site.size_bytes:
        fetches += f" of {size(site.size_bytes)}"
    takes = "?" if site.seconds is None and site.fetch_bytes else length(site.seconds or 0.0)
    return site.site, site.tier, str(site.runs or "-"), site.variant or "-", fetches, takes


def _problems(problems: Iterable[Problem], indent: str) -> Iterator[str]:
    for problem in problems:
        word = "STOPS" if problem.stops else "LATER" if problem.later else "note"
        yield f"{indent}{word}: {printable(problem.text)}"
