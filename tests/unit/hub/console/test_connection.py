"""Which hub is asked, and with which token."""

from pathlib import Path

import pytest

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.hub.console.connection import Connection, find_connection


@pytest.fixture
def file(tmp_path):
    """Writes the file of the user's configuration; the environment that leads to it."""

    def write(text, mode=0o600):
        path = tmp_path / "edgewise" / "hub.toml"
        path.parent.mkdir()
        path.write_text(text)
        path.chmod(mode)
        return {"XDG_CONFIG_HOME": str(tmp_path)}

    return write


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text("from-flag\n")
    path.chmod(0o600)
    return path


def test_flags_go_before_the_environment_and_that_before_the_file(file, token_file):
    environment = file('url = "https://file"\ntoken = "from-file"\nca = "ca.pem"')
    assert find_connection(None, None, None, environment) == Connection("https://file", "from-file", Path("ca.pem"))

    environment |= {"EDGEWISE_HUB": "https://variable/", "EDGEWISE_HUB_TOKEN": "from-variable"}
    assert find_connection(None, None, None, environment) == Connection(
        "https://variable", "from-variable", Path("ca.pem")
    )

    assert find_connection("http://flag:8600/x", token_file, Path("other.pem"), environment) == Connection(
        "http://flag:8600/x", "from-flag", Path("other.pem")
    )


def test_a_token_file_lies_beside_the_file_that_names_it(file, tmp_path):
    environment = file('url = "https://file"\ntoken_file = "token"')
    token = tmp_path / "edgewise" / "token"
    token.write_text("beside")
    token.chmod(0o600)

    assert find_connection(None, None, None, environment).token == "beside"


def test_what_is_said_nowhere_is_asked_for(tmp_path):
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    with pytest.raises(FailedPreconditionError, match="which hub\\? Say --hub URL, set EDGEWISE_HUB, or write url"):
        find_connection(None, None, None, environment)
    with pytest.raises(
        FailedPreconditionError, match="asks for a token: say --token-file FILE, set EDGEWISE_HUB_TOKEN"
    ):
        find_connection("https://hub", None, None, environment)


@pytest.mark.parametrize(
    "url", ["hub.example", "ftp://hub", "https://", "https://hub:port", "https://me:pw@hub", "http://h?x"]
)
def test_an_address_that_is_none(url):
    with pytest.raises(InvalidArgumentError, match="is no address, expected one such as https://hub.example:8600"):
        find_connection(url, None, None, {"EDGEWISE_HUB_TOKEN": "t"})


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_that_others_can_read_is_not_used(file, token_file, mode):
    with pytest.raises(FailedPreconditionError, match="can be read by others; run: chmod 600"):
        find_connection(None, None, None, file('url = "https://file"\ntoken = "t"', mode))
    token_file.chmod(mode)
    with pytest.raises(FailedPreconditionError, match="can be read by others; run: chmod 600"):
        find_connection("https://hub", token_file, None, {"XDG_CONFIG_HOME": "/nonexistent"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("url = 1", "hub.toml: url: found 1, expected a string"),
        ('urk = "x"', r"hub.toml: urk: unknown key \(did you mean 'url'\?\)"),
        ("url = ", "hub.toml: not TOML: "),
        ("url = " + "[" * 5000, "hub.toml: nested too deep"),
    ],
)
def test_a_wrong_file_is_named(file, text, message):
    with pytest.raises(InvalidArgumentError, match=message):
        find_connection(None, None, None, file(text))


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", "t\u00f6ken".encode()])
def test_a_token_file_without_a_token(token_file, content):
    token_file.write_bytes(content)
    with pytest.raises(FailedPreconditionError, match="the token file"):
        find_connection("https://hub", token_file, None, {"XDG_CONFIG_HOME": "/nonexistent"})
