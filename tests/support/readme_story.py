"""A section of the README, typed as it stands there, in its order."""

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARK = "what-was-typed-is-done"


class Story:
    """The commands of the section, one after another, typed into a shell.

    Args:
        where: the directory in which they are typed.
        title: of the section.
    """

    def __init__(self, where, title):
        section = (ROOT / "README.md").read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
        blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        self._commands = iter([line for block in blocks for line in block.splitlines()])
        self._shell = subprocess.Popen(
            ["bash"],
            cwd=where,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("EDGEWISE_")},
        )

    def next(self, beginning):
        """The next command, which begins so."""
        command = next(self._commands)
        assert command.startswith(beginning), command
        return command

    def type(self, command):
        """What a command prints, and its exit code."""
        self._shell.stdin.write(f"{command}\necho {MARK} $?\n")
        self._shell.stdin.flush()
        printed = []
        while not (line := self._shell.stdout.readline()).startswith(MARK):
            assert line, f"the shell has ended:\n{''.join(printed)}"
            printed.append(line)
        return "".join(printed), int(line.split()[1])

    def run(self, beginning, code=0):
        """What the next command prints; it ends with the exit code."""
        command = self.next(beginning)
        printed, ended = self.type(command)
        assert ended == code, f"{command}\n{printed}"
        return printed

    def is_told(self):
        """Whether every command was typed."""
        return next(self._commands, None) is None

    def end(self):
        self._shell.stdin.close()
        self._shell.stdout.close()
        self._shell.wait(10)


def running(where, command, log, environment=None):
    """A command in a shell of its own, as in another terminal."""
    with log.open("wb") as sink:
        return subprocess.Popen(
            ["bash", "-c", f"source .venv/bin/activate && exec {command}"],
            cwd=where,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=environment,
        )
