"""`edgewise train` reads its words and says what is wrong before anything slow is imported."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from edgewise.cli import main

SPEC = 'dataset = "none"\nnetwork = "alexnet"\n[[stage]]\nepochs = 1\n'


def test_neither_help_nor_a_wrong_specification_imports_tensorflow(tmp_path):
    program = (
        "import sys\n"
        "from edgewise.cli import main\n"
        f"code = main(['train', 'run', {str(tmp_path / 'none.toml')!r}])\n"
        "import edgewise.train.training, edgewise.train.exporting, edgewise.train.reporting, edgewise.train.weights\n"
        "slow = {'tensorflow', 'keras', 'tf2onnx', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(0 if code == 1 and not slow else f'{code} {slow}')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "cannot be read: No such file or directory" in done.stderr


def test_missing_dataset_is_named(tmp_path, capsys):
    (tmp_path / "s.toml").write_text(SPEC)
    assert main(["train", "run", str(tmp_path / "s.toml"), "--out", str(tmp_path / "run")]) == 1
    assert (
        f"{tmp_path / 'none'} is no directory; expected a dataset that `edgewise data build` made"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()


def test_show_says_where_no_training_is(tmp_path, capsys):
    assert main(["train", "show", str(tmp_path)]) == 1
    assert "holds no run.json; expected a directory that `edgewise train run` wrote" in capsys.readouterr().err


def exported(tmp_path, monkeypatch, export):
    monkeypatch.setattr("edgewise.train.exporting.export", export)
    return main(["train", "export", str(tmp_path), "--out", str(tmp_path), "--version", "1"])


def test_export_says_what_the_command_is_that_it_ends_with(tmp_path, monkeypatch, capsys):
    done = SimpleNamespace(release_command="edgewise release create pets 1 --trust DIR")
    assert exported(tmp_path, monkeypatch, lambda *_words, **_named: done) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "DIR is the directory of your offline keys" in "".join(lines[:-1])
    assert lines[-1] == done.release_command


def test_export_that_is_stopped_says_so(tmp_path, monkeypatch, capsys):
    def stopped(*_words, **_named):
        raise KeyboardInterrupt

    assert exported(tmp_path, monkeypatch, stopped) == 130
    assert capsys.readouterr().out.startswith("stopped; each version is written whole or not at all")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--agreement", "2"], "found '2', expected a number in 0..1"),
        (["--threshold", "dog"], "found 'dog', expected CLASS=P, such as dog=0.8"),
        (["--version", "0"], "found '0', expected a whole number"),
    ],
)
def test_wrong_words_are_explained(tmp_path, capsys, words, message):
    with pytest.raises(SystemExit):
        main(["train", "export", str(tmp_path), "--out", str(tmp_path), "--version", "1", *words])
    assert message in capsys.readouterr().err
