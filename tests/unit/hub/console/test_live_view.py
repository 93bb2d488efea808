"""The terminal that moves: it shows what is so, keeps its last picture, and obeys nobody else's words."""

import io

import pytest
from rich.console import Console

from edgewise.hub.console.live_view import LiveView
from support.rollout_statuses import NOW_S, entry, rollout, site_of


@pytest.fixture
def screen():
    """Draws, and gives what is to be seen."""

    class Screen:
        def __init__(self):
            self.console = Console(file=io.StringIO(), force_terminal=True, width=160, height=40, color_system=None)
            self.view = LiveView(self.console, now_s=lambda: NOW_S)

        def lines(self):
            with self.console.capture() as captured:
                self.console.print(self.view.picture())
            return captured.get().splitlines()

    return Screen()


def test_before_the_first_answer_it_says_what_it_does(screen):
    assert screen.lines() == ["asking the hub"]


def test_waves_gates_sites_and_moves_are_there(screen):
    screen.view.show(rollout(), [entry(number) for number in range(1, 12)])

    text = "\n".join(screen.lines())
    assert "pets-2-k3f9 (pets 2) is Progressing: started by ops" in text
    assert "wave 1 canary is open" in text
    assert "−0.4 % to +1.2 %" in text
    assert "answers 10 % of the requests" in text
    assert "wave 2 everyone is waiting" in text
    assert "factory-8" not in text
    assert text.count("site factory-7: Staged -> Activating") == 8


def test_a_notice_stands_below_until_it_is_over(screen):
    screen.view.show(rollout(), [])
    screen.view.notice("the hub cannot be reached")
    assert screen.lines()[-1] == "the hub cannot be reached"

    screen.view.notice("")
    assert "cannot be reached" not in "\n".join(screen.lines())


def test_more_sites_than_the_terminal_has_lines_are_counted(screen):
    sites = tuple(site_of(f"site-{number}", "Active") for number in range(100))
    screen.view.show(rollout(sites=sites), [])

    assert any("and 78 more" in line for line in screen.lines())


def test_words_of_others_are_neither_markup_nor_commands(screen):
    screen.view.show(
        rollout(sites=(site_of("factory-7", "Failed", why="[bold red]x[/] \x1b[2J"),), why="[link=http://x]y[/link]"),
        [],
    )

    text = "\n".join(screen.lines())
    assert "[bold red]x[/] �[2J" in text
    assert "[link=http://x]y[/link]" in text


def test_it_leaves_its_last_picture_behind(screen):
    with screen.view:
        screen.view.show(rollout("Completed", why="every wave has passed"), [])

    assert "is Completed: every wave has passed" in screen.console.file.getvalue()
