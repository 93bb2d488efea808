"""What one writes first: aiohttp's server in front of aiohttp's client, on uvloop. No second site.

python aiohttp_proxy.py PORT CLOUD_PORT
"""

import sys

import aiohttp
import uvloop
from aiohttp import web

SITE = f"http://127.0.0.1:{sys.argv[2]}"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "content-length"}


def end_to_end(headers):
    return [(name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP]


async def relay(request):
    body = await request.read()
    session = request.app["session"]
    async with session.request(
        request.method, SITE + request.raw_path, data=body, headers=end_to_end(request.headers)
    ) as response:
        answer = await response.read()
        return web.Response(status=response.status, body=answer, headers=end_to_end(response.headers))


async def session_of(app):
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        app["session"] = session
        yield


def main():
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", relay)
    app.cleanup_ctx.append(session_of)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, loop=uvloop.new_event_loop())


main()
