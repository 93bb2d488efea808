"""The hub's own app, behind a real server in a thread of this process; time passes when a test says so."""

import asyncio
import contextlib
import threading
import time

import uvicorn

from edgewise.hub.api.app import create_app
from edgewise.hub.api.hub import Hub
from edgewise.hub.api.segment_taking import SegmentTaking
from edgewise.hub.blobs.directory import DirectoryBlobs
from edgewise.hub.control.actors import HUB, Role
from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.samples.segment_files import SegmentFiles
from edgewise.hub.store.store import Store
from edgewise.hub.trust.repository import Repository
from edgewise.protocols.trusted_documents import encode_desired_keys, encode_policy
from edgewise.trust.keys import SigningKey
from edgewise.trust.offline import OfflineTrust
from edgewise.trust.tuf_files import DESIRED_KEYS, POLICY
from support.waiting import wait_for


class HubInThread:
    """A hub.

    Attributes:
        offline: what the operator has.
        token: of an administrator.
    """

    def __init__(self, directory):
        online, desired = SigningKey.generated(), SigningKey.generated()
        contents = {POLICY: encode_policy({}), DESIRED_KEYS: encode_desired_keys([desired.public_hex])}
        self.offline = OfflineTrust.created(directory / "offline", online.public_hex, contents)
        repository = Repository.created(
            directory / "tuf",
            online,
            roots=self.offline.root_files(),
            targets=self.offline.targets_file(),
            contents=contents,
        )
        self.hub = Hub(
            lambda on_change: ControlPlane(
                Store(f"sqlite:///{directory / 'hub.db'}"), desired, on_change=on_change, clock=time.time
            ),
            repository,
            DirectoryBlobs(directory / "blobs"),
            SegmentTaking(SegmentFiles(directory / "segments")),
        )
        config = uvicorn.Config(create_app(self.hub), port=0, log_level="warning", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._loop = None

    @contextlib.contextmanager
    def serving(self):
        """Be there."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            wait_for(lambda: self._server.started)
            self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
            self.token = self.call("create_token", "olga", Role.ADMIN, actor=HUB)
            yield self
        finally:
            self._loop.call_soon_threadsafe(self.hub.end_waiting)
            self._server.should_exit = True
            thread.join()
            self.hub.close()

    def call(self, method, *words, **named):
        """Have the control plane do something."""
        return self.asked(getattr(self.hub.plane, method), *words, **named)

    def asked(self, method, *words, **named):
        """Have the control plane's thread call something."""
        asked = self.hub.call(method, *words, **named)
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()

    def run(self, coroutine):
        """Have the hub's loop do something."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def tick(self):
        """Let a moment pass."""
        self.call("tick", time.time())

    def _run(self):
        async def serve():
            self._loop = asyncio.get_running_loop()
            await self._server.serve()

        asyncio.run(serve())
