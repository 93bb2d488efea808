"""Who gets in, for how long, and who does not."""

import asyncio

import httpx
import pytest

from edgewise.hub.control.actors import Role
from support.control_world import OPERATOR

PATHS = (
    "/",
    "/sites",
    "/sites/alpha",
    "/rollouts",
    "/rollouts/new",
    "/rollouts/pets-two",
    "/rollouts/pets-two/pause",
    "/releases",
    "/audit",
)


@pytest.mark.parametrize("path", PATHS)
def test_nobody_sees_a_page_without_logging_in(small_world, path):
    small_world.begin()
    answer = small_world.browser().get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?to=")
    assert "pets-two" not in answer.text


def test_one_logs_in_with_a_token_and_comes_where_one_wanted_to(small_world):
    browser = small_world.browser()
    login = browser.get("/sites?selector=ring%3Dfirst").headers["location"]
    _, fields = browser.page(login).forms[0]
    answer = browser.client.post("/login", data={**fields, "token": f" {small_world.tokens[Role.VIEWER]} "})
    assert answer.headers["location"] == "/sites?selector=ring%3Dfirst"
    assert "alpha" in browser.page(answer.headers["location"]).links


def test_the_cookie_tells_nothing_and_is_for_this_hub_alone(small_world):
    browser = small_world.browser()
    cookie = browser.log_in(small_world.tokens[Role.VIEWER]).headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"):
        assert part in cookie
    assert "Secure" not in cookie
    assert small_world.tokens[Role.VIEWER] not in cookie


def test_under_https_the_cookie_never_travels_without(small_world):
    async def log_in():
        transport = httpx.ASGITransport(small_world.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://hub.example") as client:
            await client.post("/login", data={"token": small_world.tokens[Role.VIEWER]})
            assert (await client.get("/rollouts")).status_code == 200
            return client.cookies.jar

    (cookie,) = asyncio.run(log_in())
    assert cookie.secure
    assert (cookie.name, cookie.path, cookie.domain_specified) == ("__Host-edgewise-session", "/", False)


def test_a_wrong_token_is_refused_in_words_and_not_shown_again(small_world):
    browser = small_world.browser()
    answer = browser.log_in("ew-wrong-token")
    assert answer.status_code == 401
    assert "the token is not known" in answer.text
    assert "ew-wrong-token" not in answer.text
    assert "set-cookie" not in answer.headers


def test_the_token_of_a_site_opens_no_page(small_world):
    answer = small_world.browser().log_in(small_world.sites["alpha"].token)
    assert answer.status_code == 401


def test_a_form_from_another_site_logs_nobody_in(small_world):
    browser = small_world.browser()
    answer = browser.log_in(small_world.tokens[Role.VIEWER], **{"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_revoked_token_ends_its_sessions(small_world):
    browser = small_world.browser(Role.VIEWER)
    browser.page("/sites")
    small_world.ask("revoke_token", "viewer", OPERATOR)
    answer = browser.get("/sites")
    assert answer.status_code == 303
    login = browser.page(answer.headers["location"])
    assert "is not valid any more" in login.text


def test_a_live_page_of_somebody_who_is_logged_out_is_told_so_and_not_sent_to_another(small_world):
    browser = small_world.browser(Role.VIEWER)
    small_world.ask("revoke_token", "viewer", OPERATOR)
    assert browser.get("/sites", headers={"X-Edgewise-Live": "1"}).status_code == 401


def test_logging_out_ends_the_session_and_not_only_the_cookie(small_world):
    browser = small_world.browser(Role.VIEWER)
    kept = dict(browser.client.cookies)
    _, fields = browser.page("/").forms[0]
    assert browser.client.post("/logout", data=fields).headers["location"] == "/login"
    browser.client.cookies.update(kept)
    assert browser.get("/sites").status_code == 303


def test_who_logs_in_and_out_is_in_the_audit_log(small_world):
    def noted():
        return [entry for entry in small_world.ask("audit") if entry.action.startswith("pages.")]

    browser = small_world.browser()
    assert browser.log_in("ew-wrong-token").status_code == 401
    assert noted() == []
    browser.log_in(small_world.tokens[Role.VIEWER])
    _, fields = browser.page("/").forms[0]
    assert browser.client.post("/logout", data={**fields, "form_key": ""}).status_code == 403
    assert [entry.action for entry in noted()] == ["pages.login"]
    browser.client.post("/logout", data=fields)
    assert [(entry.actor, entry.address, entry.action, entry.subject) for entry in noted()] == [
        ("viewer", "127.0.0.1", "pages.logout", "viewer"),
        ("viewer", "127.0.0.1", "pages.login", "viewer"),
    ]
    assert "pages.login" in small_world.browser(Role.VIEWER).page("/audit").text


def test_nobody_is_logged_out_by_another_site(small_world):
    browser = small_world.browser(Role.VIEWER)
    assert browser.client.post("/logout", data={"form_key": ""}).status_code == 403
    browser.page("/sites")


def test_logging_in_again_ends_the_session_before(small_world):
    browser = small_world.browser(Role.VIEWER)
    before = dict(browser.client.cookies)
    browser.log_in(small_world.tokens[Role.OPERATOR])
    assert "operator" in browser.page("/").text
    with httpx.Client(base_url=small_world.url, cookies=before) as other:
        assert other.get("/sites").status_code == 303


def test_who_is_logged_in_is_not_asked_again(small_world):
    answer = small_world.browser(Role.VIEWER).get("/login?to=/sites")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sites")


def test_nobody_is_sent_elsewhere_after_logging_in(small_world):
    browser = small_world.browser()
    answer = browser.client.post("/login", data={"token": small_world.tokens[Role.VIEWER], "to": "//evil.example/"})
    assert answer.headers["location"] == "/"


def test_a_link_from_elsewhere_leads_on_though_the_browser_brought_no_cookie(small_world):
    answer = small_world.browser().get(
        "/rollouts/pets-two?wave=1", headers={"sec-fetch-site": "cross-site", "cookie": "of=another"}
    )
    assert answer.status_code == 200
    assert 'url=/rollouts/pets-two?wave=1"' in answer.text


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"token=x", "text/plain"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=1" % number for number in range(100)), "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
    ],
)
def test_what_is_no_form_is_refused(small_world, content, kind):
    answer = small_world.browser().client.post("/login", content=content, headers={"content-type": kind})
    assert answer.status_code == 400
    assert "form" in answer.text


def test_a_form_without_an_end_is_refused_before_it_is_read(small_world):
    content = b"token=" + b"x" * (1 << 20)
    kind = {"content-type": "application/x-www-form-urlencoded"}
    answer = small_world.browser().client.post("/login", content=content, headers=kind)
    assert answer.status_code == 413
    assert "longer than 1048576 bytes" in answer.text


def test_nobody_tries_many_tokens(small_world):
    browser = small_world.browser()
    answers = [browser.log_in(f"ew-wrong-{number}") for number in range(12)]
    assert [one.status_code for one in answers[:10]] == [401] * 10
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert "too many wrong credentials" in answers[-1].text
    # Right ones are let in all the same: many people may sit behind one address.
    assert browser.log_in(small_world.tokens[Role.VIEWER]).status_code == 303
