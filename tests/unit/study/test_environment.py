"""How a study says where it was measured."""

import os
import subprocess

from edgewise import __version__
from edgewise.study import environment


def test_everything_has_a_word_and_the_order_stays():
    found = environment.described()
    assert list(found)[:2] == ["edgewise", "Python"]
    assert found["edgewise"].startswith(__version__)
    assert "numpy" in found["packages"]
    assert "onnxruntime" in found["packages"]
    assert all(found.values())
    assert {"processor", "cores", "memory", "kernel", "date"} <= found.keys()


def test_a_commit_is_told_and_that_files_were_changed_since(tmp_path):
    assert environment.git_commit(tmp_path) == ""
    quiet = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = ("-c", "user.name=a", "-c", "user.email=a@b")

    def git(*words):
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True, env=quiet)

    git("init", "--quiet")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "--quiet", "-m", "one")
    commit = environment.git_commit(tmp_path)
    assert len(commit) == 12
    (tmp_path / "file").write_text("two")
    assert environment.git_commit(tmp_path) == commit + "+"


def test_a_machine_without_git_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.git_commit(tmp_path) == ""


def test_a_package_that_is_not_there_is_left_out():
    assert environment.package_version("no-such-package-anywhere") == ""


def test_the_processor_is_named_where_the_kernel_names_it(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\n")
    assert environment.processor(cpuinfo) == "Some CPU @ 2.0GHz"
    assert environment.processor(tmp_path / "none") != ""


def test_cores_are_those_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert environment.cores() == "1 of 8"
