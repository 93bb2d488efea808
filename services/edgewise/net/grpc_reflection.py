"""gRPC reflection under the public names of the services; imported when someone first asks.

The protocol: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from edgewise.core.errors import InvalidArgumentError
from edgewise.net.grpc_exchange import INVALID_ARGUMENT, GrpcStream, Message
from edgewise.net.service_messages import parse_message
from edgewise.wire import reflection_pb2 as pb

# The two versions of the service have the same messages; newer clients ask for the first and fall back to the second.
NAMES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")

_NOT_FOUND: Final = 5
_NAME_CHARACTERS: Final = 200


class ReflectionService:
    """Answers questions for descriptors.

    Args:
        services: the public names to list, in this order.
        pool: what is known; every file with all that it imports.
    """

    def __init__(self, services: tuple[str, ...], pool: DescriptorPool) -> None:
        self._services = services
        self._pool = pool
        self._answers = {
            "file_by_filename": self._file_by_name,
            "file_containing_symbol": self._file_with_symbol,
            "file_containing_extension": self._file_with_extension,
            "all_extension_numbers_of_type": self._extension_numbers,
            "list_services": self._list,
        }

    def open(self, stream: GrpcStream) -> None:
        """Answer each message of the stream until the client has sent its last."""
        stream.on_message = partial(self._answer_on, stream)
        stream.on_half_close = stream.finish

    def answer(self, request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        """The answer to one question.

        Returns: what was asked for, or an error of the protocol's own: NOT_FOUND for a file, symbol or extension that
            the server does not have, INVALID_ARGUMENT for no question or one that is not known here.
        """
        question = request.WhichOneof("message_request")
        if question is None:
            response = _error(
                INVALID_ARGUMENT, f"the request asks nothing known here; expected one of {', '.join(self._answers)}"
            )
        else:
            response = self._answers[question](request)
        response.valid_host = request.host
        response.original_request.CopyFrom(request)
        return response

    def _answer_on(self, stream: GrpcStream, message: Message) -> None:
        try:
            request = parse_message(pb.ServerReflectionRequest, bytes(message))
        except InvalidArgumentError as error:
            stream.finish(INVALID_ARGUMENT, error.message)
            return
        stream.send(self.answer(request).SerializeToString())

    def _file_by_name(self, request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        try:
            return _files(self._pool.FindFileByName(request.file_by_filename))
        except KeyError:
            return _not_found("file", request.file_by_filename)

    def _file_with_symbol(self, request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        name = request.file_containing_symbol
        # The first search knows no methods.
        for find in (self._pool.FindFileContainingSymbol, self._file_with_method):
            try:
                return _files(find(name))
            except KeyError:
                continue
        return _not_found("symbol", name)

    def _file_with_method(self, name: str) -> FileDescriptor:
        service: ServiceDescriptor = self._pool.FindMethodByName(name).containing_service
        return service.file

    def _file_with_extension(self, request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        asked = request.file_containing_extension
        # The messages served are proto3, which has no extensions.
        return _not_found(f"extension {asked.extension_number} of", asked.containing_type)

    def _extension_numbers(self, request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        name = request.all_extension_numbers_of_type
        try:
            self._pool.FindMessageTypeByName(name)
        except KeyError:
            return _not_found("message", name)
        numbers = pb.ExtensionNumberResponse(base_type_name=name)
        return pb.ServerReflectionResponse(all_extension_numbers_response=numbers)

    def _list(self, _request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        services = [pb.ServiceResponse(name=name) for name in self._services]
        return pb.ServerReflectionResponse(list_services_response=pb.ListServiceResponse(service=services))


def methods(services: tuple[str, ...], pool: DescriptorPool) -> dict[str, Callable[[GrpcStream], None]]:
    """The methods of the reflection service by full name.

    Args:
        services: the public names to list.
        pool: what is known of them; every file with all that it imports.
    """
    service = ReflectionService((*services, *NAMES), pool)
    return {f"/{name}/ServerReflectionInfo": service.open for name in NAMES}


def _files(file: FileDescriptor) -> pb.ServerReflectionResponse:
    """A file, and after it what it imports, directly or not: each once."""
    found: dict[str, bytes] = {}
    waiting = [file]
    while waiting:
        one = waiting.pop()
        if one.name not in found:
            found[one.name] = one.serialized_pb
            waiting.extend(one.dependencies)
    files = pb.FileDescriptorResponse(file_descriptor_proto=found.values())
    return pb.ServerReflectionResponse(file_descriptor_response=files)


def _not_found(kind: str, name: str) -> pb.ServerReflectionResponse:
    return _error(_NOT_FOUND, f"no such {kind} {name[:_NAME_CHARACTERS]!r}")


def _error(code: int, message: str) -> pb.ServerReflectionResponse:
    return pb.ServerReflectionResponse(error_response=pb.ErrorResponse(error_code=code, error_message=message))
