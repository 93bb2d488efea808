"""The hub's API behind the server that the command uses, with people of every role and sites that are let in."""

import asyncio
import base64
import hashlib
import json
import socket

import httpx

from edgewise.core.releases import Chunk, Release, ReleaseFile, Variant
from edgewise.hub.api.app import create_app
from edgewise.hub.control.actors import HUB, Role
from edgewise.hub.listening import HubServer, listening_socket, server_config
from edgewise.protocols.release_manifest import encode_release
from edgewise.trust.keys import SigningKey
from edgewise.trust.tuf_files import release_path
from support.control_world import Site
from support.hub_in_thread import HubInThread

NOBODY = "nobody"


class ApiWorld(HubInThread):
    """A hub.

    Attributes:
        people: a client for each role, and one without a token under NOBODY.
    """

    def __init__(self, directory):
        super().__init__(directory)
        self.app = create_app(self.hub)
        self._server = HubServer(server_config(self.app))
        self._clients = []

    def _run(self):
        async def serve():
            self._loop = asyncio.get_running_loop()
            await self._server.serve([listening_socket("127.0.0.1", 0)])

        asyncio.run(serve())

    def open_clients(self):
        """Once it serves."""
        tokens = {role: self.call("create_token", role.value, role, actor=HUB) for role in Role}
        self.people = {role: self.client(token) for role, token in tokens.items()} | {NOBODY: self.client("")}
        self.viewer, self.operator, self.admin = (self.people[role] for role in Role)
        self.nobody = self.people[NOBODY]

    def close_clients(self):
        for client in self._clients:
            client.close()

    def client(self, token):
        """Somebody."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        client = httpx.Client(base_url=self.url, headers=headers, timeout=30.0)
        self._clients.append(client)
        return client

    def site(self, name, **labels):
        """A site that was let in over the API, and its client."""
        asked = {"site": name, "tier": "edge", "labels": labels}
        word = self.admin.post("/api/v1/enrollments", json=asked).raise_for_status().json()["enrollment"]
        site = Site(name, self._ask)
        told = {"token": opened_word(word)["token"], "public_key": site.key.public_hex, "tier": "edge", "labels": {}}
        site.token = self.nobody.post("/api/v1/enroll", json=told).raise_for_status().json()["site_token"]
        site.client = self.client(site.token)
        return site

    def connect(self):
        """A bare connection."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        return socket.create_connection((host, int(port)), timeout=30.0)

    def publish(self, *versions, model="pets", blobs=True):
        """Releases as an operator makes them; the answer to the last step."""
        for version in versions:
            content = f"{model} {version}".encode()
            made = released(content, version, model)
            if blobs:
                self.operator.put(f"/blobs/sha256/{sha256(content)}", content=content).raise_for_status()
            manifest = encode_release(made)
            path = release_path(model, version)
            self.operator.put(f"/api/v1/targets/{path}", content=manifest).raise_for_status()
            self.offline.add_targets({path: manifest})
        return self.operator.post("/api/v1/metadata/targets", content=self.offline.targets_file())

    def publish_content(self, content, version, model="pets"):
        """A release of these bytes."""
        self.operator.put(f"/blobs/sha256/{sha256(content)}", content=content).raise_for_status()
        manifest, path = encode_release(released(content, version, model)), release_path(model, version)
        self.operator.put(f"/api/v1/targets/{path}", content=manifest).raise_for_status()
        self.offline.add_targets({path: manifest})
        self.operator.post("/api/v1/metadata/targets", content=self.offline.targets_file()).raise_for_status()

    def _ask(self, method, *words, **named):
        return self.call(method, *words, **named)


def released(content, version, model="pets"):
    """A release of one file."""
    file = ReleaseFile("model.onnx", len(content), sha256(content), (Chunk(len(content), sha256(content)),))
    return Release(model, version, "2026-12-01T00:00:00Z", {"any": Variant((file,))})


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def opened_word(word):
    """What the word of an enrolment says."""
    text = word.removeprefix("ew1.")
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def joined(client, word):
    """The token of a site that comes in with the word of an enrolment."""
    told = {"token": opened_word(word)["token"], "public_key": SigningKey.generated().public_hex}
    return client.post("/api/v1/enroll", json=told).raise_for_status().json()["site_token"]


def answered(connection):
    """Status line, fields and body of an answer on a bare connection that is closed after it."""
    content = b""
    while piece := connection.recv(65536):
        content += piece
    head, _, body = content.partition(b"\r\n\r\n")
    return head.decode().lower(), body
