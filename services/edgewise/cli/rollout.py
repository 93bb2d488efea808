"""`edgewise rollout`: plan, start, status, watch, pause, resume, promote, abort, undo, history."""

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.cli.hub_connection import (
    ENVIRONMENT,
    add_connection,
    add_json,
    add_verb,
    add_yes,
    check_asked,
    confirmed,
    connect,
    duration_s,
    print_json,
    release_name,
)
from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.events import Verb

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands
    from edgewise.core.rollout.waves import Wave
    from edgewise.hub.console.client import HubClient
    from edgewise.hub.console.specification_file import Asked

DESCRIPTION = f"""\
Move sites to a release, wave by wave, and back.

  edgewise rollout plan pets-2.yaml
  edgewise rollout start pets-2.yaml --watch
  edgewise rollout start --release pets/2 --wave canary:site=factory-7 --wave everyone
  edgewise rollout status
  edgewise rollout abort pets-2-k3f9 --why "calls from the night shift"

SPEC is a file that ends in .toml, .yaml or .yml: see docs/rollouts.md.
{ENVIRONMENT}"""
PLAN = """\
Say what each site would do: what it would fetch, how long that takes, and what would stop it. Nothing moves.

Exit codes: 0 nothing would stop it; 1 something would, or it cannot be planned; 2 wrong arguments, or a wrong SPEC.
"""
START = """\
Show the plan in short, ask, make the rollout and start it. SPEC can also be the name of a rollout that was made with --hold. Where there is no
terminal to ask on, nothing is done without --yes.

Exit codes: 0 started (with --watch: as of `watch`); 1 not started, and why; 2 wrong arguments, or a wrong SPEC.
"""
WATCH = """\
Show a rollout as it moves; where there is no terminal, a line for everything that moves. A hub that goes away meanwhile is waited
for; one that is away at the beginning is not.

Exit codes: 0 Completed, or RolledBack where it had been undone before; 1 RolledBack or Failed, or it cannot be shown;
2 wrong arguments; 3 Paused, so a person has to decide.
"""
VERBS = {
    Verb.PAUSE: "tell no further site to switch",
    Verb.RESUME: "go on after a pause: the same question is asked again",
    Verb.PROMOTE: "take the verdict of the present wave upon yourself, and go on",
    Verb.ABORT: "tell every site that switched to go back",
    Verb.UNDO: "tell every site to go back, after the rollout has completed",
}
ASKED_FIRST = {Verb.PROMOTE, Verb.ABORT, Verb.UNDO}
WAYS_BACK = {Verb.ABORT, Verb.UNDO}


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "rollout",
        help="move sites to a release, wave by wave, and back",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    planned = add_verb(verbs, "plan", "say what each site would do, and what would stop it", PLAN)
    _add_specification(planned, "a specification")
    add_json(planned)
    add_connection(planned)
    planned.set_defaults(run=partial(_plan, planned))
    _add_start(verbs)
    status = add_verb(verbs, "status", "show a rollout, or list all")
    status.add_argument("name", nargs="?", metavar="NAME", help="of the rollout (default: a list of all)")
    add_json(status)
    add_connection(status)
    status.set_defaults(run=_status)
    watched = add_verb(verbs, "watch", "show a rollout as it moves", WATCH)
    watched.add_argument("name", metavar="NAME", help="of the rollout")
    add_connection(watched)
    watched.set_defaults(run=_watch)
    for verb, summary in VERBS.items():
        _add_command(verbs, verb, summary)
    told = add_verb(verbs, "history", "say what moved, when and why")
    told.add_argument("name", metavar="NAME", help="of the rollout")
    add_json(told)
    add_connection(told)
    told.set_defaults(run=_history)


def _add_specification(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("specification", nargs="?", metavar="SPEC", help=what)
    short = command.add_argument_group("instead of SPEC", "everything else is as it is by default")
    short.add_argument("--release", type=release_name, metavar="MODEL/VERSION", help="such as pets/2")
    short.add_argument(
        "--wave",
        action="append",
        default=[],
        type=_wave,
        metavar="NAME[:SELECTOR]",
        help="such as canary:tier=edge; may be repeated (default: one of all sites)",
    )
    short.add_argument("--each-for", type=duration_s, metavar="TIME", help="for how long each share is kept (1m)")
    short.add_argument("--bake", type=duration_s, metavar="TIME", help="for how long the old version stays warm (10m)")


def _add_start(verbs: "Commands") -> None:
    command = add_verb(verbs, "start", "show the plan, ask, and start a rollout", START)
    _add_specification(command, "a specification, or the name of a rollout that was made with --hold")
    command.add_argument("--name", metavar="NAME", help="of the rollout (default: made of the release's)")
    add_yes(command)
    after = command.add_mutually_exclusive_group()
    after.add_argument("--hold", action="store_true", help="make it, and start it later")
    after.add_argument("--watch", action="store_true", help="show it as it moves, once it is started")
    add_connection(command)
    command.set_defaults(run=partial(_start, command))


def _add_command(verbs: "Commands", verb: Verb, summary: str) -> None:
    command = add_verb(verbs, verb.value, summary)
    command.add_argument("name", metavar="NAME", help="of the rollout")
    command.add_argument("--why", default="", metavar="TEXT", help="for the audit log")
    if verb in ASKED_FIRST:
        add_yes(command)
    if verb in WAYS_BACK:
        shown = "show it until it is back; exit codes: 0 RolledBack, 1 Failed"
        command.add_argument("--watch", action="store_true", help=shown)
    add_connection(command)
    if verb not in ASKED_FIRST:
        command.set_defaults(yes=True)
    command.set_defaults(run=partial(_command, command, verb))


def _plan(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.plan_text import has_stops, plan_text

    asked = _asked(command, arguments)
    with connect(arguments) as client:
        plan = client.plan(asked.text, asked.form)
    if arguments.json:
        print_json(plan)
    else:
        print(plan_text(plan))
    return 1 if has_stops(plan) else 0


def _start(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.plan_text import short_plan_text

    if _is_name(arguments):
        return _start_held(command, arguments)
    asked = _asked(command, arguments)
    check_asked(command, yes=arguments.yes)
    with connect(arguments) as client:
        print(short_plan_text(client.plan(asked.text, asked.form)))
        if not confirmed("Make this rollout?" if arguments.hold else "Start this rollout?", yes=arguments.yes):
            print("nothing was done")
            return 1
        name = client.create_rollout(asked.text, asked.form, name=arguments.name, start=not arguments.hold)
        if arguments.hold:
            print(f"{name} is made; start it with: edgewise rollout start {name}")
            return 0
        return _started(client, name, arguments)


def _start_held(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Start a rollout that was made with --hold."""
    name = arguments.specification
    if arguments.name is not None:
        command.error(
            f"{name} is the name of a rollout, and --name goes with a new one; a SPEC is a file that ends in .toml, .yaml or .yml"
        )
    if arguments.hold:
        command.error(f"{name} is the name of a rollout, and --hold makes a new one; say it without --hold to start it")
    if arguments.release is not None or _has_short_words(arguments):
        command.error(
            f"{name} is the name of a rollout, made already; --release, --wave, --each-for and --bake go with a new one"
        )
    check_asked(command, yes=arguments.yes)
    if not confirmed(f"Start {name}?", yes=arguments.yes):
        print("nothing was done")
        return 1
    with connect(arguments) as client:
        client.command(name, Verb.START.value, "")
        return _started(client, name, arguments)


def _started(client: "HubClient", name: str, arguments: argparse.Namespace) -> int:
    if arguments.watch:
        print(f"{name} is started")
        return _shown(client, name)
    print(f"{name} is started; see it with: edgewise rollout watch {name}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.rollout_text import rollout_text, rollouts_text

    with connect(arguments) as client:
        if arguments.name is None:
            rollouts = client.rollouts()
            text = "" if arguments.json else rollouts_text(rollouts, time.time())
        else:
            rollout = client.rollout(arguments.name)
            text = "" if arguments.json else rollout_text(rollout, time.time())
    if arguments.json:
        print_json(rollouts if arguments.name is None else rollout)
    else:
        print(text)
    return 0


def _watch(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        return _shown(client, arguments.name)


def _shown(client: "HubClient", name: str, *, back: bool = False) -> int:
    from edgewise.hub.console.watching import Lines, watch

    if not sys.stdout.isatty():
        return watch(client, name, Lines(partial(print, flush=True)), back=back)
    from rich.console import Console

    from edgewise.hub.console.live_view import LiveView

    with LiveView(Console()) as screen:
        return watch(client, name, screen, back=back)


def _command(command: argparse.ArgumentParser, verb: Verb, arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.rollout_text import title

    check_asked(command, yes=arguments.yes)
    if not confirmed(f"{verb.value.capitalize()} {arguments.name}?", yes=arguments.yes):
        print("nothing was done")
        return 1
    with connect(arguments) as client:
        rollout = client.command(arguments.name, verb.value, arguments.why)
        if verb in WAYS_BACK and arguments.watch:
            return _shown(client, arguments.name, back=True)
        print(title(rollout, time.time()))
    return 0


def _history(arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.rollout_text import history_text

    with connect(arguments) as client:
        entries = client.history(arguments.name)
    if arguments.json:
        print_json(entries)
    elif entries:
        print(history_text(entries))
    return 0


def _asked(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> "Asked":
    from edgewise.hub.console.specification_file import read_specification_file, short_specification

    if (arguments.specification is None) == (arguments.release is None):
        command.error("expected SPEC, or --release MODEL/VERSION")
    if arguments.release is None and _has_short_words(arguments):
        command.error("--wave, --each-for and --bake go with --release; SPEC says all of it itself")
    try:
        if arguments.release is None:
            return read_specification_file(Path(arguments.specification))
        model, version = arguments.release
        return short_specification(model, version, arguments.wave, stage_s=arguments.each_for, bake_s=arguments.bake)
    except InvalidArgumentError as error:
        command.error(error.message)


def _has_short_words(arguments: argparse.Namespace) -> bool:
    """Whether anything is said that goes with --release."""
    return bool(arguments.wave) or arguments.each_for is not None or arguments.bake is not None


def _is_name(arguments: argparse.Namespace) -> bool:
    """Whether a rollout that exists is meant."""
    from edgewise.hub.console.specification_file import FORMS

    word = arguments.specification
    return word is not None and "/" not in word and Path(word).suffix.lower() not in FORMS and not Path(word).exists()


def _wave(word: str) -> "Wave":
    from edgewise.hub.console.specification_file import parse_wave

    try:
        return parse_wave(word)
    except InvalidArgumentError as error:
        raise argparse.ArgumentTypeError(error.message) from None
