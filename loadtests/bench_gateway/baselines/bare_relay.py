"""The least that a proxy in Python can do: bytes from one socket to another, on httptools and uvloop.

It finds where a message ends and passes on the bytes as they came: no timeouts, no second site, no limits, no checks, no
counters. It says what is left to be had, not what could be used.

    python bare_relay.py PORT CLOUD_PORT
"""

import asyncio
import socket
import sys

import httptools
import uvloop

UPSTREAM = ("127.0.0.1", int(sys.argv[2]))
idle = []


class Site(asyncio.Protocol):
    """A connection to the site."""

    def __init__(self):
        self.app = None
        self.transport = None
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data):
        if self.app is not None:
            self.app.transport.write(data)
        self.parser.feed_data(data)

    def on_message_complete(self):
        app, self.app = self.app, None
        idle.append(self)
        if app is not None:
            app.site = None

    def connection_lost(self, _):
        if self in idle:
            idle.remove(self)
        if self.app is not None:
            self.app.transport.close()


class App(asyncio.Protocol):
    """A connection of an app; one request at a time."""

    def __init__(self):
        self.site = None
        self.transport = None
        self.waiting = []
        self.parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data):
        if self.site is None and idle:
            self.site = idle.pop()
            self.site.app = self
        if self.site is not None:
            self.site.transport.write(data)
        else:
            if not self.waiting:
                task = asyncio.get_running_loop().create_task(self.connect())
                task.add_done_callback(lambda done: done.exception() and self.transport.close())
            self.waiting.append(data)
        self.parser.feed_data(data)

    async def connect(self):
        _, site = await asyncio.get_running_loop().create_connection(Site, *UPSTREAM)
        site.app, self.site = self, site
        site.transport.writelines(self.waiting)
        self.waiting = []

    def connection_lost(self, _):
        if self.site is not None:
            self.site.transport.close()


async def main():
    server = await asyncio.get_running_loop().create_server(App, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


uvloop.run(main())
