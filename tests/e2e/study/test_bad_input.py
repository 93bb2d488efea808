"""What a user gets wrong: one line that says what would be right, soon, and no traceback."""

import signal

import pytest

from support.waiting import wait_for

GOOD = '[sweep]\ntargets = ["edge"]\nmodels = ["tiny"]\nprotocols = ["rest-json"]\nloads = [10]\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "laods = [1]\n", "laods"),
        (GOOD.replace("[10]", '"ten"'), "loads"),
        (GOOD.replace("[10]", "[-1]"), "loads"),
        (GOOD.replace('"edge"', '"moon"'), "moon"),
        (GOOD.replace('"tiny"', '"tinny"'), "tinny"),
        (GOOD.replace("rest-json", "rest-jsno"), "rest-jsno"),
        (GOOD.replace('"rest-json"', '"rest-image"'), "rest-image"),
        (GOOD + 'profiles = ["5g"]\n', "5g"),
        ("no toml [", "not TOML"),
        ("", "sweep"),
        (GOOD + "[run]\nduration_s = nan\n", "duration_s"),
        (GOOD + '[inputs]\nimages = "nowhere"\n', "nowhere"),
        (GOOD + '[[outage]]\nname = "cut"\nsteps = "2s:explode"\n', "explode"),
    ],
)
def test_a_scenario_that_cannot_be_is_told_in_one_line(study, tmp_path, text, said):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    code, _, errors = study("run", path).ended(60)
    assert code == 1
    lines = [line for line in errors.splitlines() if line.startswith("edgewise: ")]
    assert said in lines[-1]
    assert "Traceback" not in errors
    assert not (tmp_path / "studies" / "bad").exists()


def test_advice_on_a_scenario_that_cannot_be_is_refused_alike(study, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(GOOD + "laods = [1]\n")
    code, output, errors = study("advise", path).ended(60)
    assert code == 1
    assert "laods" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert output == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "nowhere.toml"], "the scenario nowhere.toml cannot be read"),
        (["run", "no-such-name"], "there is no scenario 'no-such-name'; the shipped ones are "),
        (["run", "/dev/zero.toml"], "cannot be read"),
        (["report", "nowhere"], "nowhere is no directory"),
        (["check", "."], "holds no study"),
        (["compare", "a", "b"], "a"),
        (["run", "typed.toml", "--resume"], "there is no study in studies/typed to go on with"),
        (["run", "typed.toml", "--out", "/proc/nowhere"], "cannot hold a study"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(study, scenario, words, said):
    code, _, errors = study(*words).ended(60)
    assert code == 1
    assert said in errors
    assert len(errors.splitlines()) == 1


def test_a_study_in_progress_is_not_disturbed(study, scenario, tmp_path):
    directory = tmp_path / "study"
    scenario.write_text(
        scenario.read_text().replace('"cloud", "edge", "gateway"', '"edge"').replace("repeats = 2", "repeats = 1")
    )
    first = study("run", scenario, "--out", directory)
    wait_for(lambda: (directory / "scenario.toml").exists() or first.process.poll() is not None, 60)
    # Held where it is, so that it cannot end before the others have looked.
    first.process.send_signal(signal.SIGSTOP)
    others = [study("run", scenario, "--out", directory, how) for how in ("--resume", "--force")]
    for other in others:
        code, _, said = other.ended(60)
        assert code == 1
        assert "another study writes" in said
    first.process.send_signal(signal.SIGCONT)
    code, _, said = first.ended()
    assert code == 0, said


def test_servers_that_are_not_there_end_a_study_soon(study, tmp_path):
    path = tmp_path / "away.toml"
    path.write_text(GOOD + '[site.edge]\nurl = "http://127.0.0.1:9"\n')
    code, said, errors = study("run", path).ended(60)
    assert code == 1
    assert "nothing could be measured: nobody listens at 127.0.0.1:9 (edge, http): Connection refused" in said
    assert "Traceback" not in errors
    assert (tmp_path / "studies" / "away" / "report.html").exists()
