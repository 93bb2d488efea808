"""The site behind every gRPC relay: a fixed answer, over HTTP/2 and over HTTP/1.1 as the gateway carries gRPC calls.

It stands on Edgewise's servers since grpcio's would be slower than what is measured; it is the same for all of them.

    python grpc_site.py MESSAGE_FILE CLOUD_PORT EDGE_PORT CLOUD_GRPC_PORT EDGE_GRPC_PORT
"""

import asyncio
import gc
import sys
from pathlib import Path

import uvloop

from edgewise.net.grpc_exchange import UnaryMethod
from edgewise.net.grpc_server import GrpcServer
from edgewise.net.http_server import HttpServer

MESSAGE = Path(sys.argv[1]).read_bytes()
SERVING = b"\x08\x01"
"""`status: SERVING` of grpc.health.v1, and `ready: true` of the Open Inference Protocol."""
PREDICT = "/tensorflow.serving.PredictionService/Predict"
JSON = ((b"content-type", b"application/json"),)
CARRIED = ((b"content-type", b"application/x-protobuf"), (b"grpc-status", b"0"))


def answer(call):
    call.respond(MESSAGE)


def healthy(call):
    call.respond(SERVING)


def over_http1(exchange):
    if exchange.method == b"POST":
        carried = exchange.path == PREDICT.encode()
        exchange.respond(200, CARRIED, MESSAGE if carried else SERVING)
    else:
        exchange.respond(200, JSON, b'{"ready": true}')


METHODS = {
    PREDICT: UnaryMethod(answer),
    "/grpc.health.v1.Health/Check": UnaryMethod(healthy),
    "/inference.GRPCInferenceService/ServerReady": UnaryMethod(healthy),
    "/inference.GRPCInferenceService/ServerLive": UnaryMethod(healthy),
}


async def main():
    http, grpc = HttpServer(over_http1), GrpcServer(METHODS.get)
    for port in sys.argv[2:4]:
        await http.start("127.0.0.1", int(port))
    for port in sys.argv[4:6]:
        await grpc.start("127.0.0.1", int(port))
    gc.collect()
    gc.freeze()
    await asyncio.Event().wait()


uvloop.run(main())
