"""The command's arguments, and what it does not import."""

import argparse
import subprocess
import sys

import pytest

from edgewise.cli import fetch

HEX = "ab" * 32


def parsed(*words):
    parser = argparse.ArgumentParser()
    fetch.add_to(parser.add_subparsers())
    return parser.parse_args(["fetch", *words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "expected URI and DIR"),
        (("x.zip",), "expected URI and DIR"),
        (("x.zip", "models/pets/1"), "--sha256 HEX is missing"),
        (("x.zip", "models/pets/1", "--sha256", "12"), "expected the 64 hexadecimal digits"),
        (("", "models/pets/1", "--sha256", HEX), "the URI is empty; is the key MODEL_URI empty"),
        (("$(MODEL_URI)", "models/pets/1", "--sha256", HEX), "is the key MODEL_URI missing"),
        (("x.zip", "models/$(MODEL_NAME)/1", "--sha256", HEX), "is the key MODEL_NAME missing"),
        (("x.zip", "models/pets/1", "--digest", "x.zip"), "stands alone"),
    ],
)
def test_wrong_arguments_end_with_2_and_say_what_is_right(words, message, capsys):
    arguments = parsed(*words)
    with pytest.raises(SystemExit) as ended:
        arguments.run(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_digest_of_a_file(tmp_path, capsys):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"")
    arguments = parsed("--digest", str(path))
    assert arguments.run(arguments) == 0
    assert capsys.readouterr().out == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"


@pytest.mark.parametrize("scheme", ["", "http://127.0.0.1:9"])
def test_files_and_http_need_nothing_that_is_heavy(scheme, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"model")
    uri = f"{scheme}/model.onnx" if scheme else str(tmp_path / "model.onnx")
    program = f"""
import argparse, sys
from edgewise.cli import fetch
from edgewise.core.errors import EdgewiseError
parser = argparse.ArgumentParser()
fetch.add_to(parser.add_subparsers())
try:
    parser.parse_args(["--help"])
except SystemExit:
    pass
arguments = parser.parse_args(["fetch", {uri!r}, {str(tmp_path / "pets" / "1")!r}, "--unverified", "--retries", "0"])
try:
    arguments.run(arguments)
except EdgewiseError:
    pass
heavy = {{"numpy", "onnxruntime", "obstore", "oras", "requests", "urllib3", "kubernetes", "uvloop"}} & set(sys.modules)
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pets" / "1").exists() is not bool(scheme)


@pytest.mark.parametrize(("uri", "package"), [("s3://models/pets.zip", "obstore"), ("oci://registry/pets", "oras")])
def test_a_missing_package_is_named_with_what_installs_it(uri, package, tmp_path, monkeypatch):
    from edgewise.core.errors import UnavailableError

    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    arguments = parsed(uri, str(tmp_path / "pets" / "1"), "--unverified")
    with pytest.raises(UnavailableError) as caught:
        arguments.run(arguments)
    assert package in caught.value.message
    assert "pip install 'edgewise[fetch]'" in caught.value.message
