"""A plain relay on grpc.aio: any unary method, messages as bytes, the deadline and the metadata passed on. No second site.

python grpc_relay.py PORT CLOUD_PORT
"""

import asyncio
import sys

import grpc

OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.optimization_target", "throughput"),
    ("grpc.so_reuseport", 0),
)


class Relay(grpc.GenericRpcHandler):
    """Answers every method with what the site says."""

    def __init__(self, channel):
        self._channel = channel
        self._handlers = {}

    def service(self, details):
        handler = self._handlers.get(details.method)
        if handler is None:
            handler = self._handlers[details.method] = self._handler(details.method)
        return handler

    def _handler(self, method):
        ask = self._channel.unary_unary(method)

        async def relay(message, context):
            metadata = [(key, value) for key, value in context.invocation_metadata() if key != "user-agent"]
            try:
                return await ask(message, timeout=context.time_remaining(), metadata=metadata)
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details(), error.trailing_metadata())

        return grpc.unary_unary_rpc_method_handler(relay)


async def main():
    async with grpc.aio.insecure_channel(f"127.0.0.1:{sys.argv[2]}", options=OPTIONS) as channel:
        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers((Relay(channel),))
        server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
        await server.start()
        await server.wait_for_termination()


asyncio.run(main())
