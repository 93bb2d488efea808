"""The commands that the pages show are ones that `edgewise` and `make` take, and those shown twice are the same."""

import re
import shlex
from pathlib import Path

import pytest

from edgewise.cli import parser

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What ends a command, in a shell and in what a page says beside it.
END = re.compile(r"\s&&\s|;\s|\s\|\s|\s#\s|\s&\s|\s<\s|\s{2,}")


def blocks(page):
    return [re.sub(r"\s*\\\n\s*", " ", block) for block in FENCE.findall(page.read_text())]


def commands():
    """Every command of a page that runs `edgewise`, with the page's name."""
    for page in PAGES:
        for block in blocks(page):
            for line in block.splitlines():
                for part in END.split(line):
                    if re.match(r"edgewise [a-z]", part.strip()) and "tensorflow-model-server" not in part:
                        yield page.name, part.strip()


def words_of(command):
    """As a shell would hand them on, with a number or a word where it would put in something."""
    plain = re.sub(r"\$\([^)]*\)", "0" * 64, command)
    plain = plain.replace("--model-version N", "--model-version 1").replace("HEX", "0" * 64)
    return shlex.split(plain)[1:]


def test_there_are_commands():
    assert len(list(commands())) > 30


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_the_command_takes_what_a_page_tells_it(page, command, capsys):
    try:
        parser().parse_args(words_of(command))
    except SystemExit as stopped:
        if stopped.code:
            pytest.fail(f"{page}: {command}\n{capsys.readouterr().err}")


def test_make_has_the_targets_that_pages_name():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z0-9-]+)", page.read_text())}
    assert named
    assert named <= targets


@pytest.mark.parametrize(
    ("page", "words"), [("kubernetes.md", "edgewise k8s install --overlay cloud"), ("edge-node.md", "--extras models")]
)
def test_the_way_from_nothing_is_the_same_on_both_pages(page, words):
    (ours,) = (block for block in blocks(ROOT / "README.md") if words in block)
    (theirs,) = (block for block in blocks(ROOT / "docs" / page) if words in block)
    assert theirs == ours
