"""The files of an edge node, as far as they can be looked at without systemd."""

import itertools
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from edgewise import __version__
from edgewise.agent.site.command import NICENESS
from edgewise.cli import main
from edgewise.gateway.options import GatewayOptions
from edgewise.gateway.toml_config import load_config

SYSTEMD = Path(__file__).parents[4] / "deploy" / "systemd"
UNITS = SYSTEMD / "units"
SERVICES = (
    "edgewise-model-server.service",
    "edgewise-gateway.service",
    "edgewise-fetch@.service",
    "edgewise-agent.service",
)


def settings(name):
    """What a unit, or a file under the directory of units, says: every value of each key."""
    text = re.sub(r"\\\n\s*", "", (UNITS / name).read_text())
    found = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_the_same_walls(name):
    first = settings(SERVICES[0])
    walls = {
        key: values
        for key, values in first.items()
        if key.startswith(("Private", "Protect", "Restrict", "Capability", "NoNew", "Memory", "Lock", "Keyring"))
        and key != "RestartPreventExitStatus"
    }
    assert len(walls) >= 18
    found = settings(name)
    assert {key: found.get(key) for key in walls} == walls
    assert found["SystemCallFilter"][:2] == ["@system-service", "~@privileged @resources"]


@pytest.mark.parametrize("name", [*SERVICES[:2], "edgewise-agent.service"])
def test_a_server_tells_systemd_how_it_is_and_is_started_again(name):
    found = settings(name)
    assert found["Type"] == ["notify"]
    assert found["NotifyAccess"] == ["main"]
    assert int(found["WatchdogSec"][0]) >= 10
    assert found["Restart"] == ["on-failure"]
    assert int(found["StartLimitBurst"][0]) * int(found["RestartSec"][0]) < 5 * 60, "the limit is never reached"


@pytest.mark.parametrize(
    ("unit", "file"),
    [
        ("edgewise-model-server.service", "model-server.env"),
        ("edgewise-gateway.service", "gateway.env"),
        ("edgewise-agent.service", "agent.env"),
    ],
)
def test_the_example_shows_settings_that_there_are_with_their_defaults(unit, file):
    defaults = dict(word.split("=", 1) for word in settings(unit)["Environment"])
    (command,) = settings(unit)["ExecStart"]
    shown = dict(re.findall(r"^#([A-Z_]+)=(.*)$", (SYSTEMD / "etc" / file).read_text(), re.MULTILINE))
    assert shown
    for name, value in shown.items():
        assert f"${name}" in command or f"${{{name}}}" in command
        assert value == defaults.get(name, "")


@pytest.mark.parametrize("name", SERVICES)
def test_the_command_line_is_one_that_the_program_takes(name, capsys):
    (command,) = settings(name)["ExecStart"]
    takes(command, capsys)


def takes(command, capsys):
    program, *words = command.split()
    assert program == "/opt/edgewise/bin/edgewise"
    verbs = list(itertools.takewhile(str.isalpha, words))
    with pytest.raises(SystemExit) as ended:
        main([*verbs, "--help"])
    assert ended.value.code == 0
    known = capsys.readouterr().out
    for word in words:
        if word.startswith("--"):
            assert word in known


@pytest.mark.parametrize(
    ("service", "instead", "more"),
    [
        (
            "edgewise-model-server",
            ("--repository ${EDGEWISE_MODELS}", "--config ${EDGEWISE_MODELS_CONFIG} --poll-interval-s 0.2"),
            {"EDGEWISE_MODELS_CONFIG": "models.config"},
        ),
        (
            "edgewise-gateway",
            ("$EDGEWISE_OPTIONS", "--canaries ${EDGEWISE_CANARIES} $EDGEWISE_OPTIONS"),
            {"EDGEWISE_CANARIES": "canaries.json"},
        ),
    ],
)
def test_with_an_agent_a_server_is_what_it_was_but_for_what_it_follows(service, instead, more, capsys):
    (command,) = settings(f"{service}.service")["ExecStart"]
    found = settings(f"../agent/{service}.conf")
    # An empty one takes the unit's own away.
    assert found["ExecStart"] == ["", command.replace(*instead)]
    takes(found["ExecStart"][1], capsys)
    agent = dict(word.split("=", 1) for word in settings("edgewise-agent.service")["Environment"])
    assert dict(word.split("=", 1) for word in found["Environment"]) == {
        name: f"{agent['EDGEWISE_AGENT']}/{file}" for name, file in more.items()
    }


def test_the_agent_may_write_to_its_own_directory_alone_and_waits_until_it_is_a_site():
    found = settings("edgewise-agent.service")
    directory = dict(word.split("=", 1) for word in found["Environment"])["EDGEWISE_AGENT"]
    assert [f"/var/lib/{name}" for name in found["StateDirectory"]] == [directory]
    assert "ReadWritePaths" not in found
    assert found["ConditionPathExists"] == [f"{directory}/site.json"]
    assert f"d {directory} 0750 edgewise-agent edgewise\n" in (SYSTEMD / "tmpfiles.d" / "edgewise.conf").read_text()
    # The group reads what it writes; nobody else of the group has its key, which is for its owner alone.
    assert (found["User"], found["Group"], found["UMask"]) == (["edgewise-agent"], ["edgewise"], ["0027"])


def test_the_agent_may_set_its_own_niceness():
    found = settings("edgewise-agent.service")
    assert found["Nice"] == [str(NICENESS)]
    assert "setpriority" in found["SystemCallFilter"][-1].split()


def test_the_example_config_is_one_that_the_gateway_takes():
    config = load_config(GatewayOptions(config=SYSTEMD / "etc" / "gateway.toml"))
    (site,) = config.sites
    assert (site.name, str(site.tier)) == ("edge", "edge")
    # So is what is commented out, with the comments taken away.
    text = (SYSTEMD / "etc" / "gateway.toml").read_text()
    whole = tomllib.loads(re.sub(r"^#(\[\[|\w+ = )", r"\1", text, flags=re.MULTILINE))
    assert [site["name"] for site in whole["site"]] == ["edge", "cloud"]


def test_the_example_of_a_model_names_what_the_fetch_needs():
    (command,) = settings("edgewise-fetch@.service")["ExecStart"]
    example = dict(
        line.split("=", 1)
        for line in (SYSTEMD / "etc" / "models" / "example.env").read_text().splitlines()
        if not line.startswith("#") and line
    )
    assert set(re.findall(r"\$\{(MODEL_\w+)\}", command)) == set(example)


def install(*words, destination=""):
    return subprocess.run(
        [SYSTEMD / "install", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DESTDIR": destination},
    )


@pytest.mark.parametrize("words", [["--wheel"], ["--extras"], ["nowhere.whl"], ["--containers", "--agent"]])
def test_install_refuses_what_it_does_not_know(words, tmp_path):
    done = install(*words, destination=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("install: ")
    assert list(tmp_path.iterdir()) == []


def test_the_containers_units_take_the_same_settings():
    for name in SERVICES[:2]:
        text = (SYSTEMD / "containers" / name).read_text()
        for word in settings(name)["Environment"]:
            if not word.startswith(("PYTHON", "ORT_", "EDGEWISE_MODELS=", "EDGEWISE_CONFIG=")):
                assert f"Environment={word}\n" in text
        version = re.search(r"Environment=EDGEWISE_IMAGE=localhost/[a-z-]+:(\S+)", text)[1]
        assert version == __version__


def test_install_of_containers_puts_their_units_in_place(tmp_path):
    done = install("--containers", destination=str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = {path.name for path in (tmp_path / "etc/systemd/system").iterdir()}
    assert found == {"edgewise-model-server.service", "edgewise-gateway.service", "edgewise.target"}
    assert "podman run" in (tmp_path / "etc/systemd/system/edgewise-gateway.service").read_text()
    assert not (tmp_path / "opt").exists()


def test_install_puts_files_in_place_and_keeps_settings(tmp_path):
    done = install("--files-only", destination=str(tmp_path))
    assert done.returncode == 0, done.stderr
    for unit in UNITS.iterdir():
        assert (tmp_path / "etc/systemd/system" / unit.name).read_text() == unit.read_text()
    config = tmp_path / "etc/edgewise/gateway.toml"
    assert config.stat().st_mode & 0o777 == 0o640
    config.write_text("# mine\n")
    assert install("--files-only", destination=str(tmp_path)).returncode == 0
    assert config.read_text() == "# mine\n"
    assert not list((tmp_path / "etc/systemd/system").glob("*.d"))


def test_install_with_an_agent_has_the_servers_follow_it(tmp_path):
    done = install("--files-only", "--agent", destination=str(tmp_path))
    assert done.returncode == 0, done.stderr
    for service in ("edgewise-model-server", "edgewise-gateway"):
        placed = tmp_path / "etc/systemd/system" / f"{service}.service.d" / "agent.conf"
        assert placed.read_text() == (SYSTEMD / "agent" / f"{service}.conf").read_text()
    assert (tmp_path / "etc/edgewise/agent.env").stat().st_mode & 0o777 == 0o640
