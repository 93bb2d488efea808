"""Compiled modules that are older than their sources are told of, since they are what runs."""

import os
from importlib.machinery import EXTENSION_SUFFIXES

import pytest

from edgewise.cli import _warn_of_stale_modules


@pytest.fixture
def package(tmp_path):
    package = tmp_path / "services" / "edgewise"
    (package / "net").mkdir(parents=True)
    (tmp_path / "hot_path.py").touch()
    source = package / "net" / "reader.py"
    compiled = package / "net" / f"reader{EXTENSION_SUFFIXES[0]}"
    for path in (source, compiled):
        path.touch()
        os.utime(path, (1000, 1000))
    return package


def test_a_source_that_was_changed_since(package, capsys):
    os.utime(package / "net" / "reader.py", (2000, 2000))
    _warn_of_stale_modules(package)
    assert "reader.py was changed after it was compiled; run `make compiled`" in capsys.readouterr().err


def test_nothing_is_said_of_what_is_up_to_date_or_installed(package, tmp_path, capsys):
    _warn_of_stale_modules(package)
    os.utime(package / "net" / "reader.py", (2000, 2000))
    (tmp_path / "hot_path.py").unlink()
    _warn_of_stale_modules(package)
    assert not capsys.readouterr().err
