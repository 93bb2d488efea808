"""`edgewise study`: which scenario a word names, what is missing, and with which code it ends."""

import importlib.util

import pytest

from edgewise.cli import main, study
from edgewise.link.profiles import PROFILES
from edgewise.study import comparison, runner, summary
from edgewise.study.results import StudyResult
from edgewise.study.runner import Outcome

RESULT = StudyResult("a study", 1, ())


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[sweep]\ntargets = ["edge"]\nmodels = ["tiny"]\nprotocols = ["rest-json"]\nloads = [10]\n')
    return path


@pytest.fixture
def runs(monkeypatch):
    """What `runner.run` was told; it gives the outcome that is put here."""

    class Runs(list):
        outcome = Outcome(RESULT, None)

    seen = Runs()

    def run(asked, directory, **words):
        seen.append((asked, directory, words))
        return seen.outcome

    monkeypatch.setattr(runner, "run", run)
    return seen


def test_a_file_is_read_and_the_study_is_named_after_it(scenario, runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs.outcome = Outcome(RESULT, tmp_path / "report.html")
    assert main(["study", "run", "mine.toml"]) == 0
    asked, directory, words = runs[0]
    assert asked.sweep.targets == ("edge",)
    assert str(directory) == "studies/mine"
    assert (words["resume"], words["force"]) == (False, False)
    said = capsys.readouterr().out
    assert said.startswith("a study\n")
    assert said.endswith(f"report: {tmp_path / 'report.html'}\n")


def test_a_shipped_scenario_is_found_by_its_name(runs, tmp_path):
    main(["study", "run", "quick", "--out", str(tmp_path / "x"), "--resume"])
    asked, directory, words = runs[0]
    assert asked.text == (study._shipped() / "quick.toml").read_text()
    assert directory == tmp_path / "x"
    assert words["resume"]


def test_an_unknown_name_is_told_with_those_that_there_are(capsys):
    assert main(["study", "run", "quikc"]) == 1
    said = capsys.readouterr().err
    assert "there is no scenario 'quikc'" in said
    assert "quick" in said


def test_an_installed_wheel_says_that_it_carries_none(monkeypatch, tmp_path, capsys):
    import edgewise

    monkeypatch.setattr(edgewise, "__file__", str(tmp_path / "site-packages" / "edgewise" / "__init__.py"))
    for words in (["study", "run", "quick"], ["study", "list"]):
        assert main(words) == 1
        assert "carries no scenarios" in capsys.readouterr().err


def test_every_shipped_scenario_is_listed_with_its_time_and_title(capsys):
    assert main(["study", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(path.stem for path in study._shipped().glob("*.toml"))
    assert all("min" in line or " s " in line for line in lines)


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (Outcome(RESULT, None), 0, "no report could be written"),
        (Outcome(RESULT, None, problem="the disk is full"), 1, "not finished: the disk is full"),
        (Outcome(StudyResult("s", 1, (), missing={"edge_x": "away"}), None), 1, "edge_x: away"),
        (Outcome(RESULT, None, stopped_by=2, problem="it was stopped"), 130, "--resume"),
        (Outcome(RESULT, None, stopped_by=15, problem="it was stopped"), 143, "--resume"),
        (Outcome(None, None, problem="x"), 1, "not finished: x"),
    ],
)
def test_how_a_study_went_is_the_exit_code(scenario, runs, capsys, outcome, code, said):
    runs.outcome = outcome
    assert main(["study", "run", str(scenario)]) == code
    assert said in capsys.readouterr().out


def test_a_missing_package_is_told_with_what_to_install(scenario, runs, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(study, "find_spec", lambda name: None if name == "pyarrow" else find(name))
    assert main(["study", "run", str(scenario)]) == 1
    assert capsys.readouterr().err == (
        "edgewise: `edgewise study` needs pyarrow; install them with: pip install 'edgewise[study]'\n"
    )
    assert not runs


@pytest.mark.parametrize(
    "words",
    [
        ["study"],
        ["study", "run"],
        ["study", "run", "quick", "--resume", "--force"],
        ["study", "compare", "a"],
        ["study", "frobnicate"],
    ],
)
def test_wrong_arguments_end_with_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: edgewise study" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["report", "check"])
def test_a_directory_without_a_study_is_told(verb, tmp_path, capsys):
    assert main(["study", verb, str(tmp_path)]) == 1
    assert "holds no study" in capsys.readouterr().err


def test_networks_of_the_emulator_are_handed_over_number_by_number():
    found = study._profiles()
    assert found.keys() == PROFILES.keys()
    assert found["4g"].rtt_ms == 40
    assert found["none"].up_kbit_s == 0
    assert found["edge-lossy"].rtt_ms == 840
    assert found["edge-lossy"].loss_ratio == 0.01
    assert found["starlink"].path_spread_ms == PROFILES["starlink"].conditions.slots.spread_ms
    assert found["3g"].down_kbit_s == 780


@pytest.mark.parametrize(("regressed", "shared", "code"), [(True, True, 1), (False, True, 0), (False, False, 1)])
def test_compare_ends_with_1_on_a_regression_and_where_nothing_can_be_compared(
    monkeypatch, capsys, regressed, shared, code
):
    cells = (comparison.CellComparison("c", comparison.Verdict.NO_DIFFERENCE, ("a change",) if shared else ()),)

    class Compared(comparison.Comparison):
        @property
        def regressed(self):
            return regressed

    monkeypatch.setattr(summary, "read", lambda path: path)
    monkeypatch.setattr(comparison, "compare", lambda a, b: Compared("A", "B", cells))
    monkeypatch.setattr(comparison, "render", lambda found: "a table\n")
    assert main(["study", "compare", "a", "b"]) == code
    assert capsys.readouterr().out == "a table\n"
