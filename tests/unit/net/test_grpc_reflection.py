"""What reflection answers to each kind of question."""

import pytest
from google.protobuf import descriptor_pb2

from edgewise.net.grpc_reflection import NAMES, ReflectionService, methods
from edgewise.protocols.reflection import public_pool
from edgewise.wire import reflection_pb2 as pb

INVALID_ARGUMENT, NOT_FOUND = 3, 5


class Stream:
    """The server's side of a call, on paper."""

    def __init__(self):
        self.on_message = self.on_half_close = None
        self.sent, self.finished = [], []

    def send(self, message):
        self.sent.append(pb.ServerReflectionResponse.FromString(message))

    def finish(self, status=0, message=""):
        self.finished.append((status, message))


@pytest.fixture(scope="module")
def service():
    return ReflectionService(("a.B", "c.D"), public_pool())


def file_names(response):
    data = response.file_descriptor_response.file_descriptor_proto
    return [descriptor_pb2.FileDescriptorProto.FromString(one).name for one in data]


def error_of(response):
    assert response.WhichOneof("message_response") == "error_response"
    return response.error_response.error_code, response.error_response.error_message


def test_the_services_are_listed_in_order(service):
    answer = service.answer(pb.ServerReflectionRequest(host="h", list_services="*"))
    assert [one.name for one in answer.list_services_response.service] == ["a.B", "c.D"]
    assert answer.valid_host == answer.original_request.host == "h"
    assert answer.original_request.list_services == "*"


@pytest.mark.parametrize(
    "symbol",
    [
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.PredictionService.Predict",
        "tensorflow.serving.PredictRequest",
        "tensorflow.serving.PredictRequest.model_spec",
    ],
)
def test_a_symbol_brings_its_file_and_then_each_that_this_needs_once(service, symbol):
    names = file_names(service.answer(pb.ServerReflectionRequest(file_containing_symbol=symbol)))
    assert names[0] == "tensorflow_serving/apis/serving.proto"
    assert len(names) == len(set(names))
    assert {"tensorflow/core/framework/tensor.proto", "google/protobuf/wrappers.proto"} < set(names)
    for name in names:
        assert {one.name for one in public_pool().FindFileByName(name).dependencies} <= set(names)


def test_a_file_by_its_name(service):
    name = "grpc/health/v1/health.proto"
    assert file_names(service.answer(pb.ServerReflectionRequest(file_by_filename=name))) == [name]


def test_a_message_has_no_extensions(service):
    name = "tensorflow.TensorProto"
    answer = service.answer(pb.ServerReflectionRequest(all_extension_numbers_of_type=name))
    assert answer.all_extension_numbers_response == pb.ExtensionNumberResponse(base_type_name=name)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"file_by_filename": "no/such.proto"}, "no such file 'no/such.proto'"),
        ({"file_by_filename": ""}, "no such file ''"),
        ({"file_containing_symbol": "no.Such"}, "no such symbol 'no.Such'"),
        ({"file_containing_symbol": "no\0\n"}, r"no such symbol 'no\x00\n'"),
        ({"file_containing_symbol": "x" * 5000}, f"no such symbol '{'x' * 200}'"),
        ({"all_extension_numbers_of_type": "no.Such"}, "no such message 'no.Such'"),
        (
            {
                "file_containing_extension": pb.ExtensionRequest(
                    containing_type="tensorflow.TensorProto", extension_number=7
                )
            },
            "no such extension 7 of 'tensorflow.TensorProto'",
        ),
    ],
)
def test_what_is_not_there(service, question, message):
    request = pb.ServerReflectionRequest(**question)
    answer = service.answer(request)
    assert error_of(answer) == (NOT_FOUND, message)
    assert answer.original_request == request


# Field 9 may be a question of a later version.
@pytest.mark.parametrize("data", [b"", b"\x4a\x01x"])
def test_no_question_that_is_known(service, data):
    code, message = error_of(service.answer(pb.ServerReflectionRequest.FromString(data)))
    assert code == INVALID_ARGUMENT
    assert "expected one of file_by_filename, file_containing_symbol, " in message


def test_a_stream_goes_on_after_an_error_and_ends_with_the_client():
    opens = methods(("a.B",), public_pool())
    assert set(opens) == {f"/{name}/ServerReflectionInfo" for name in NAMES}
    stream = Stream()
    opens["/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"](stream)
    stream.on_message(memoryview(pb.ServerReflectionRequest(file_by_filename="x").SerializeToString()))
    stream.on_message(bytearray(pb.ServerReflectionRequest(list_services="").SerializeToString()))
    assert stream.sent[0].error_response.error_code == NOT_FOUND
    assert [one.name for one in stream.sent[1].list_services_response.service] == ["a.B", *NAMES]
    assert stream.finished == []
    stream.on_half_close()
    assert stream.finished == [(0, "")]


def test_what_is_no_request_ends_the_stream(service):
    stream = Stream()
    service.open(stream)
    stream.on_message(b"\xff")
    assert stream.sent == []
    assert stream.finished == [(INVALID_ARGUMENT, "The request is not a serialized ServerReflectionRequest")]
