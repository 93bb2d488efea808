"""What is said where a command needs a package that this installation, or this image, does not have."""

import sys

import pytest

from edgewise.cli import main


def test_a_package_that_is_not_there_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "edgewise.model_server.server", None)
    with pytest.raises(ModuleNotFoundError):
        # A module of our own that is missing is a defect, and looks like one.
        main(["serve", "--repository", str(tmp_path)])
    monkeypatch.undo()

    def lacks_numpy(*_):
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    monkeypatch.setattr("edgewise.model_server.server.serve", lacks_numpy)
    assert main(["serve", "--repository", str(tmp_path)]) == 1
    assert capsys.readouterr().err == ("edgewise: this installation has no package numpy, which this command needs\n")
