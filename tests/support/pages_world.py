"""The hub's pages over a real control plane, behind a real web server, and people who read them without a browser."""

import contextlib
import re
import time
from html.parser import HTMLParser

import httpx

from edgewise.hub.control.actors import Role
from edgewise.hub.pages.router import pages_router
from support.control_world import OPERATOR, Site, manifest_sha256, release
from support.hub_in_thread import HubInThread

SPECIFICATION = """\
model: pets
version: 2
waves:
  - {name: first, sites: ring=first, at_once: 100%}
  - {name: rest, at_once: 100%}
gates: {errors: off, latency: off, golden: false}
"""
LOOSE = """\
model: pets
version: 2
waves: [{name: all}]
"""
"""Its gates need evidence that nobody gives."""


class World:
    """A hub with pages, its sites and its people."""

    def __init__(self, directory):
        self._open = contextlib.ExitStack()
        made = HubInThread(directory)
        self.hub = made.hub
        self.app = made._server.config.app
        pages = pages_router(made.hub)
        self.app.state.routers += (pages,)
        self.app.include_router(pages)
        self.serving = self._open.enter_context(made.serving())
        self.url = self.serving.url
        self.ask = self.serving.call
        self.sites = {}
        self.tokens = {role: self.ask("create_token", role.value, role, actor=OPERATOR) for role in Role}

    def site(self, name, **labels):
        self.sites[name] = site = Site(name, self.ask)
        site.join(labels=labels)
        site.look(time.time())
        return site

    def release(self, version):
        made = release(version)
        self.ask("add_release", made, manifest_sha256(made), OPERATOR)

    def begin(self, text=SPECIFICATION, *, name="pets-two", start=True):
        return self.ask("create_rollout", text, "yaml", name=name, actor=OPERATOR, now_s=time.time(), start=start)

    def command(self, name, verb, why=""):
        self.ask("command", name, verb, why, OPERATOR, time.time())

    def state(self, name="pets-two"):
        return self.ask("rollout", name).state

    def settle(self):
        """Let sites move until none has anything to do."""
        moving = True
        while moving:
            moving = any(site.step(time.time()) for site in self.sites.values())
            self.ask("tick", time.time())

    def browser(self, role=None):
        """Somebody at the hub's pages; logged in when there is a role."""
        browser = Browser(self.url)
        self._open.callback(browser.client.close)
        if role is not None:
            browser.log_in(self.tokens[role])
        return browser

    def close(self):
        """Be gone."""
        self._open.close()


class Page(HTMLParser):
    """What is on a page: headings, links, forms with their fields, and its text."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.links, self.forms, self.tags, self._words = [], {}, [], [], []
        self._open = []
        self.feed(text)
        self.text = re.sub(r"\s+", " ", " ".join(self._words)).strip()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append((tag, given))
        self._open.append([tag, given, ""])
        if tag == "form":
            self.forms.append((given, {}))
        if tag in {"input", "textarea", "button"} and given.get("name") and self.forms:
            self.forms[-1][1].setdefault(given["name"], given.get("value") or "")

    def handle_data(self, data):
        self._words.append(data)
        for one in self._open:
            one[2] += data

    def handle_endtag(self, tag):
        while self._open:
            name, given, text = self._open.pop()
            if name in {"h1", "h2", "h3"}:
                self.headings.append((int(name[1]), text.strip()))
            if name == "a" and "href" in given:
                self.links[" ".join(text.split())] = given["href"]
            if name == tag:
                return


class Browser:
    """Somebody who follows links and sends forms."""

    def __init__(self, url):
        self.client = httpx.Client(base_url=url, follow_redirects=False, timeout=30.0)

    def get(self, path, **options):
        return self.client.get(path, **options)

    def page(self, path, *, status=200):
        answer = self.get(path)
        assert answer.status_code == status, answer.text
        return Page(answer.text)

    def log_in(self, token, **headers):
        return self.client.post("/login", data={"token": token, "to": "/"}, headers=headers)

    def form(self, path, **fields):
        """Open a page and fill its last form."""
        (given, found) = self.page(path).forms[-1]
        return given.get("action", path), {**found, **fields}

    def send(self, path, **fields):
        """Open a page, fill its last form and send it."""
        action, filled = self.form(path, **fields)
        return self.client.post(action, data=filled)
