"""SIGHUP: sites and routes change while requests go on, and a config that cannot be used changes nothing."""

import signal
import threading

import pytest


def table(name, tier, url, more=""):
    return f'[[site]]\nname = "{name}"\ntier = "{tier}"\nrest = "{url}"\n{more}\n'


@pytest.fixture
def config(tmp_path):
    return tmp_path / "gateway.toml"


def reload(gateway, config, text, until, *, said):
    """Write the config, send SIGHUP, and wait until the log says so."""
    before = gateway.log.count(said)
    config.write_text(text)
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: gateway.log.count(said) > before)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sites_and_routes_change_while_it_runs(start_gateway, plain_site, ask, until, config, workers):
    first, second = plain_site(), plain_site()
    config.write_text(table("first", "edge", first.url))
    gateway = start_gateway("--config", str(config), "--workers", workers)
    asked = ask(gateway)
    assert asked.predict().site == "first"

    both = table("first", "edge", first.url) + table("second", "cloud", second.url)
    until(lambda: asked.links()["gateway"]["workers"] == int(workers))
    before = gateway.log.count("the config is in force")
    config.write_text(both)
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: gateway.log.count("the config is in force") == before + int(workers))
    assert {asked.predict().site for _ in range(10)} == {"second"}
    assert asked.metrics()["edgewise_gateway_requests_total{model=tiny,outcome=answered,site=first}"] == 1

    config.write_text(both + '[routes.tiny]\nkind = "prefer-edge"\n')
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: gateway.log.count("the config is in force") == before + 2 * int(workers))
    assert {asked.predict().site for _ in range(10)} == {"first"}
    assert asked.predict("other").site == "second"

    config.write_text(table("second", "cloud", second.url))
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: gateway.log.count("the config is in force") == before + 3 * int(workers))
    assert {asked.predict().site for _ in range(10)} == {"second"}
    assert [site["name"] for site in asked.links()["sites"]] == ["second"]
    assert gateway.stop() == 0


def test_a_bad_config_changes_nothing(start_gateway, plain_site, ask, until, config):
    site = plain_site()
    good = table("only", "edge", site.url)
    config.write_text(good)
    gateway = start_gateway("--config", str(config))
    asked = ask(gateway)
    kept = "the config that was in force stays so"
    for text, part in (
        ("[[site", "not TOML"),
        (good + "speed = 3\n", "there is no key 'speed'"),
        ("", "there is no site"),
        (good + 'api_key_file = "missing.key"\n', "there is no file"),
        (good.replace("http", "https") + f'ca = "{config}"\n', "CA"),
    ):
        reload(gateway, config, text, until, said=kept)
        assert part in gateway.log
        assert asked.predict().site == "only"
    assert "Traceback" not in gateway.log
    reload(gateway, config, table("named-anew", "edge", site.url), until, said="the config is in force")
    assert asked.predict().site == "named-anew"
    assert gateway.stop() == 0


def test_what_is_in_flight_at_a_site_that_leaves_is_answered(start_gateway, plain_site, ask, until, config, in_thread):
    old, new = plain_site(), plain_site()
    old.gate.clear()
    config.write_text(table("old", "cloud", old.url))
    gateway = start_gateway("--config", str(config))
    asked = ask(gateway)
    waiting = in_thread(asked.predict)
    until(lambda: old.asked)
    reload(gateway, config, table("new", "cloud", new.url), until, said="the config is in force")
    assert asked.predict().site == "new"
    old.gate.set()
    answer = waiting.result()
    assert (answer.status, answer.site) == (200, "old")
    assert gateway.stop() == 0


def test_a_site_that_moves_keeps_its_name(start_gateway, plain_site, ask, until, config):
    old, new = plain_site(), plain_site()
    config.write_text(table("edge", "edge", old.url))
    gateway = start_gateway("--config", str(config))
    asked = ask(gateway)
    assert asked.predict().site == "edge"
    reload(gateway, config, table("edge", "edge", new.url), until, said="the config is in force")
    assert asked.predict().site == "edge"
    assert (len(old.asked), len(new.asked)) == (1, 1)
    assert asked.links()["sites"][0]["rest"] == new.url
    assert gateway.stop() == 0


def test_a_sites_key_is_followed_without_a_signal(start_gateway, plain_site, ask, until, config, tmp_path):
    site = plain_site()
    key = tmp_path / "site.key"
    key.write_text("first-key\n")
    config.write_text(table("edge", "edge", site.url, 'api_key_file = "site.key"'))
    gateway = start_gateway("--config", str(config))
    asked = ask(gateway)
    assert asked.predict().status == 200
    key.write_text("second-key\n")
    until(lambda: asked.predict().status == 200 and site.asked[-1][1]["authorization"] == "Bearer second-key")
    assert site.asked[0][1]["authorization"] == "Bearer first-key"
    key.write_text("two words\n")
    until(lambda: "stays so" in gateway.log)
    # Looked at each second, complained about once; and a config that is refused as well changes nothing of it.
    config.write_text(table("edge", "edge", site.url, 'api_key_file = "missing.key"'))
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: gateway.log.count("stays so") == 2)
    key.write_text("third-key\n")
    until(lambda: asked.predict().status == 200 and site.asked[-1][1]["authorization"] == "Bearer third-key")
    assert gateway.log.count("stays so") == 2
    assert gateway.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_request_is_lost_while_the_config_changes(start_gateway, plain_site, ask, until, config, in_thread, workers):
    first, second = plain_site(), plain_site()
    texts = (
        table("first", "cloud", first.url) + table("second", "edge", second.url),
        table("second", "cloud", second.url),
        table("first", "edge", second.url) + '[routes.tiny]\nkind = "edge-only"\n',
    )
    config.write_text(texts[0])
    gateway = start_gateway("--config", str(config), "--workers", workers)
    asked = ask(gateway)
    ending = threading.Event()
    answers = []

    def ask_on():
        while not ending.is_set():
            answers.append(asked.predict())

    askers = [in_thread(ask_on) for _ in range(4)]
    for number in range(1, 13):
        config.write_text(texts[number % 3])
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda number=number: gateway.log.count("the config is in force") == number * int(workers))
        # Under each config, more than those that were under way when it came.
        enough = len(answers) + len(askers) + 1
        until(lambda enough=enough: len(answers) >= enough)
    ending.set()
    for asker in askers:
        asker.result()
    assert {answer.status for answer in answers} == {200}
    assert {answer.site for answer in answers} == {"first", "second"}
    shown = asked.metrics()
    assert shown["edgewise_gateway_received_requests_total"] == len(answers)
    assert shown["edgewise_gateway_outcome_requests_total{outcome=answered}"] == len(answers)
    assert "Traceback" not in gateway.log
    assert gateway.stop() == 0
