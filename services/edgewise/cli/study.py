"""`edgewise study`: run, report, advise, check, compare, list."""

import argparse
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.cli import study_networks
from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands
    from edgewise.study.results import NetworkProfile
    from edgewise.study.runner import Outcome
    from edgewise.study.scenario import Scenario

DESCRIPTION = """\
Answer "cloud or edge?" with measurements: bring up what a scenario names, load it on schedule, and write a report.

  edgewise study list
  edgewise study run quick --out studies/quick
  edgewise study run my-scenario.toml --out studies/mine --resume
  edgewise study advise my-scenario.toml
  edgewise study check studies/quick
  edgewise study compare studies/before studies/after

A SCENARIO is a TOML file, or the name of one that is shipped.
"""
RUN_DESCRIPTION = """\
Measure a scenario and write DIR/report.html, summary.csv, summary.json, plots/ and a Parquet file of raw records for each run.
Ctrl-C and SIGTERM end it in order: what was measured is kept and reported, and --resume goes on from there.
"""
RUN_EPILOG = """\
exit codes: 0 everything was measured; 1 something could not be, and why; 2 wrong arguments; 130, 143 stopped by SIGINT, SIGTERM
"""
COMPARE_EPILOG = """\
exit codes: 0 nothing became worse; 1 something did, or the studies cannot be compared; 2 wrong arguments
"""
_PACKAGES = ("matplotlib", "pyarrow")


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "study",
        help="load tests that settle cloud or edge with numbers",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_run(verbs)
    report = verbs.add_parser(
        "report",
        help="write a study's report again",
        description="Write summary and report of a study once more, from its journal and records; also of one that was killed.",
    )
    _add_directory(report)
    report.set_defaults(run=_report)
    advise = verbs.add_parser(
        "advise",
        help="predict from a calibration of half a minute",
        description="Calibrate what a scenario names, and predict for each network who wins, and from which load on.",
    )
    _add_scenario(advise)
    advise.set_defaults(run=_advise)
    check = verbs.add_parser(
        "check",
        help="compare predictions with what was measured",
        description="Print what a study's calibrations predicted beside what it measured, and by how much they differ.",
    )
    _add_directory(check)
    check.set_defaults(run=_check)
    _add_compare(verbs)
    shown = verbs.add_parser("list", help="show the shipped scenarios", description="Show the shipped scenarios.")
    shown.set_defaults(run=_list)


def _add_run(verbs: "Commands") -> None:
    command = verbs.add_parser(
        "run",
        help="measure a scenario and write its report",
        description=RUN_DESCRIPTION,
        epilog=RUN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_scenario(command)
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="where the study goes (default studies/NAME, NAME being the scenario's)"
    )
    again = command.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with the study in DIR")
    again.add_argument("--force", action="store_true", help="replace the study in DIR")
    command.set_defaults(run=_run)


def _add_compare(verbs: "Commands") -> None:
    command = verbs.add_parser(
        "compare",
        help="find what became worse from one study to another",
        description="Compare study B with the earlier A, cell by cell, with bootstrap confidence intervals.",
        epilog=COMPARE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name in ("a", "b"):
        command.add_argument(name, type=Path, metavar=name.upper(), help="a study's directory, or its summary.json")
    command.set_defaults(run=_compare)


def _add_scenario(command: argparse.ArgumentParser) -> None:
    command.add_argument("scenario", metavar="SCENARIO", help="a TOML file, or a name that `edgewise study list` shows")


def _add_directory(command: argparse.ArgumentParser) -> None:
    command.add_argument("directory", type=Path, metavar="DIR", help="of the study")


def _run(arguments: argparse.Namespace) -> int:
    _check_packages(*_PACKAGES)
    from edgewise.study.runner import run

    path = _scenario_file(arguments.scenario)
    directory = arguments.out or Path("studies") / path.stem
    if study_networks.compares_networks(path):
        return study_networks.run(arguments, path, directory, _profiles())
    scenario = _loaded(path)
    outcome = run(scenario, directory, profiles=_profiles(), resume=arguments.resume, force=arguments.force)
    _tell(outcome, directory)
    if outcome.stopped_by:
        print(f"stopped; go on with: edgewise study run {arguments.scenario} --out {directory} --resume")
        return 128 + outcome.stopped_by
    return 1 if outcome.problem or (outcome.result is not None and outcome.result.missing) else 0


def _report(arguments: argparse.Namespace) -> int:
    _check_packages(*_PACKAGES)
    from edgewise.study.runner import rebuilt

    if study_networks.is_one(arguments.directory):
        return study_networks.report(arguments.directory, _profiles())
    _tell(rebuilt(arguments.directory), arguments.directory)
    return 0


def _advise(arguments: argparse.Namespace) -> int:
    from edgewise.study.advising import advice_text, advise

    scenario = _loaded(_scenario_file(arguments.scenario))
    print(advice_text(advise(scenario, profiles=_profiles()), scenario), end="")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from edgewise.study import checking, study_directory, summary

    result = summary.read(study_directory.found(arguments.directory))
    print(checking.render(checking.check(result)), end="")
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from edgewise.study import comparison, summary

    found = comparison.compare(summary.read(arguments.a), summary.read(arguments.b))
    print(comparison.render(found), end="")
    return 1 if found.regressed or not any(cell.changes for cell in found.cells) else 0


def _list(_arguments: argparse.Namespace) -> int:
    from edgewise.study.progress import duration_text
    from edgewise.study.runs_left import expected_s

    for path in sorted(_shipped().glob("*.toml")):
        try:
            if study_networks.compares_networks(path):
                title, seconds = study_networks.expected(path, _profiles())
            else:
                scenario = _loaded(path)
                title, seconds = scenario.title, expected_s(scenario)
        except InvalidArgumentError as error:
            print(f"{path.stem:<14} {'':>12}  cannot be run here: {error.message}")
            continue
        print(f"{path.stem:<14} {duration_text(seconds):>12}  {title}")
    return 0


def _tell(outcome: "Outcome", directory: Path) -> None:
    """What came out, in words, and where the rest is."""
    from edgewise.study.telling import result_text

    if outcome.result is not None:
        print(result_text(outcome.result), end="")
    if outcome.problem:
        print(f"not finished: {outcome.problem}")
    print(
        f"report: {outcome.report}"
        if outcome.report is not None
        else f"no report could be written; records: {directory}"
    )


def _loaded(path: Path) -> "Scenario":
    from edgewise.study import scenario_file

    return scenario_file.load(path, _profiles())


def _profiles() -> "Mapping[str, NetworkProfile]":
    """The networks that the link emulator knows."""
    from edgewise.link.profiles import PROFILES
    from edgewise.study.results import NetworkProfile

    return {
        name: NetworkProfile(
            name,
            rtt_ms=float(profile.conditions.rtt_ms),
            up_kbit_s=float(profile.conditions.up_kbit_s or 0),
            down_kbit_s=float(profile.conditions.down_kbit_s or 0),
            jitter_ms=float(profile.conditions.jitter_ms),
            loss_ratio=float(profile.conditions.loss_ratio),
            path_spread_ms=float(profile.conditions.slots.spread_ms) if profile.conditions.slots is not None else 0.0,
        )
        for name, profile in PROFILES.items()
    }


def _scenario_file(word: str) -> Path:
    """A file that is there, or a shipped scenario by its name."""
    path = Path(word)
    if path.suffix or "/" in word:
        return path
    found = _shipped() / f"{word}.toml"
    if not found.is_file():
        known = ", ".join(sorted(one.stem for one in found.parent.glob("*.toml")))
        raise NotFoundError(
            f"there is no scenario {word!r}; the shipped ones are {known}, a file is named with its .toml"
        )
    return found


def _shipped() -> Path:
    """Where the scenarios of a source tree are."""
    import edgewise

    directory = Path(edgewise.__file__).parents[2] / "loadtests" / "scenarios"
    if not directory.is_dir():
        raise NotFoundError(
            "this installation carries no scenarios, as a source tree does; name a TOML file of your own, with its suffix"
        )
    return directory


def _check_packages(*names: str) -> None:
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise FailedPreconditionError(
            f"`edgewise study` needs {' and '.join(missing)}; install them with: pip install 'edgewise[study]'"
        )
