"""Parses arguments and calls one function; no logic."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from edgewise import __version__
from edgewise.cli import (
    agent,
    data,
    fetch,
    gateway,
    health,
    hub,
    k8s,
    link,
    local,
    models,
    predict,
    release,
    rollout,
    serve,
    sites,
    study,
    train,
)
from edgewise.core.errors import EdgewiseError

TENSORFLOW_MODEL_SERVER = "tensorflow-model-server"
READER_GONE = 128 + signal.SIGPIPE
"""The exit code that shells give to a program whose output nobody reads any more."""


def parser() -> argparse.ArgumentParser:
    """The parser of the `edgewise` command."""
    root = argparse.ArgumentParser(
        prog="edgewise", description="Serve the same model in the cloud and at the edge, behind one local endpoint."
    )
    root.add_argument("--version", action="version", version=f"edgewise {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (
        serve,
        gateway,
        link,
        predict,
        health,
        models,
        fetch,
        k8s,
        hub,
        agent,
        local,
        study,
        train,
        release,
        sites,
        rollout,
        data,
    ):
        module.add_to(commands)
    # Listed for --help only: `main` takes it before this parser sees its words.
    commands.add_parser(
        TENSORFLOW_MODEL_SERVER, help="serve with the flags of TensorFlow Serving's own command", add_help=False
    )
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns: the exit code: 0 for success, 1 for a failure that was reported, 2 for wrong arguments, 141 when the reader of
        what is printed has gone, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _warn_of_stale_modules(Path(__file__).parents[1])
    if words[:1] == [TENSORFLOW_MODEL_SERVER]:
        # Its flags follow another server's conventions, so it has a parser of its own.
        from edgewise.cli import tensorflow_model_server

        return _reported(lambda: tensorflow_model_server.main(words[1:]))
    return _reported(lambda: _parsed(words))


def _warn_of_stale_modules(package: Path) -> None:
    """In a source tree, say when sources were changed and what is compiled beside them was not: that is what runs."""
    if not (package.parents[1] / "hot_path.py").exists():
        return
    suffix = EXTENSION_SUFFIXES[0]
    for compiled in package.rglob(f"*{suffix}"):
        source = compiled.with_name(compiled.name.removesuffix(suffix) + ".py")
        if source.exists() and source.stat().st_mtime > compiled.stat().st_mtime:
            print(
                f"edgewise: {source.name} was changed after it was compiled; run `make compiled` or `make interpreted`",
                file=sys.stderr,
            )
            return


def _parsed(words: Sequence[str]) -> int:
    arguments = parser().parse_args(words)
    code: int = arguments.run(arguments)
    return code


def _reported(run: "serve.Run") -> int:
    try:
        try:
            return run()
        except EdgewiseError as error:
            print(f"edgewise: {error.message}", file=sys.stderr)
            return 1
        except ModuleNotFoundError as error:
            if (error.name or "edgewise").startswith("edgewise") and error.name != "edgewise.study":
                raise
            # An image that holds what another command needs, or an extra that was not installed.
            print(f"edgewise: this installation has no package {error.name}, which this command needs", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        finally:
            # Here, where a reader that has gone can still be taken for what it is.
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output (`| head`) has what it wanted.
        _discard_rest()
        return READER_GONE


def _discard_rest() -> None:
    """Let what a gone reader left unread go nowhere: the interpreter flushes once more as it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
