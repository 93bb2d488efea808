import asyncio

import grpc
import numpy as np
import pytest

from edgewise.client import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)

X = np.array([1.5, -2], np.float32)
JPEG = b"\xff\xd8\xff\xe0 the rest of a photograph"


@pytest.fixture
def client(grpc_server):
    with Client(grpc_server.url, api_key="k1") as opened:
        yield opened


def test_a_named_tensor_is_one_call(grpc_server, client):
    answer = client.predict("double", {"x": X}, request_id="r-1", route="prefer-edge", timeout_s=5)
    assert answer.outputs["y"].tolist() == [3.0, -4.0]
    assert (answer.site, answer.tier, answer.version, answer.confidence) == ("cellar", "edge", 4, 0.75)
    (metadata,) = grpc_server.metadata
    assert metadata["authorization"] == "Bearer k1"
    assert metadata["x-request-id"] == "r-1"
    assert metadata["x-edgewise-route"] == "prefer-edge"
    assert 0 < grpc_server.remaining_s[0] <= 5.1  # gRPC rounds what it sends up to a coarser unit


def test_a_tensor_without_a_name_asks_for_the_signature_once(grpc_server, client):
    for _ in range(3):
        assert client.predict("double", X).outputs["y"].tolist() == [3.0, -4.0]
    assert len(grpc_server.metadata) == 4


def test_an_image_finds_the_signature_that_takes_it(client):
    answer = client.predict("double", JPEG)
    assert answer.outputs["labels"].tolist() == [[b"tabby"]]


def test_metadata(client):
    metadata = client.metadata("double")
    assert metadata.version == 4
    assert set(metadata.signatures) == {"serving_default", "image"}
    assert [spec.name for spec in metadata.signatures["image"].inputs] == ["jpeg"]
    assert metadata.signatures["image"].inputs[0].shape == (-1,)


def test_ready(client):
    assert client.ready() is True


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidArgumentError),
        (grpc.StatusCode.NOT_FOUND, NotFoundError),
        (grpc.StatusCode.FAILED_PRECONDITION, FailedPreconditionError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhaustedError),
        (grpc.StatusCode.UNAVAILABLE, UnavailableError),
        (grpc.StatusCode.UNKNOWN, InternalError),
        (grpc.StatusCode.DATA_LOSS, InternalError),
    ],
)
def test_each_status_is_one_error_of_the_tree(grpc_server, client, code, error):
    grpc_server.fail = (code, "what was wrong")
    with pytest.raises(error, match="what was wrong") as caught:
        client.predict("double", {"x": X})
    assert type(caught.value) is error


def test_the_deadline_ends_a_call_that_hangs(grpc_server, client):
    grpc_server.hang = True
    with pytest.raises(DeadlineExceededError):
        client.predict("double", {"x": X}, timeout_s=0.1)


def test_nobody_there_is_unavailable_and_not_ready(grpc_server):
    grpc_server.close()
    with Client(grpc_server.url) as client:
        with pytest.raises(UnavailableError):
            client.predict("double", {"x": X}, timeout_s=5)
        assert client.ready(timeout_s=5) is False


@pytest.mark.parametrize("asynchronous", [False, True])
def test_who_cannot_be_reached_and_why(grpc_server, asynchronous):
    async def ask_asynchronously(url):
        async with AsyncClient(url) as client:
            await client.predict("double", {"x": X}, timeout_s=5)

    def ask(url):
        with Client(url) as client:
            client.predict("double", {"x": X}, timeout_s=5)

    def refusal(url):
        with pytest.raises(UnavailableError) as caught:
            asyncio.run(ask_asynchronously(url)) if asynchronous else ask(url)
        return caught.value.message

    grpc_server.close()
    reason = "the connection was refused; is the server running, and on that port?"
    assert refusal(grpc_server.url) == f"cannot connect to {grpc_server.url}: {reason}"
    url = "grpc://no-such-host.invalid:8500"
    assert (
        refusal(url)
        == f"cannot connect to {url}: the name no-such-host.invalid cannot be resolved; check the URL's host"
    )


def test_a_closed_client_refuses(grpc_server):
    client = Client(grpc_server.url)
    client.close()
    with pytest.raises(FailedPreconditionError, match="closed"):
        client.predict("double", {"x": X})


def test_the_asynchronous_twin(grpc_server):
    async def ask():
        async with AsyncClient(grpc_server.url) as client:
            answers = await asyncio.gather(*(client.predict("double", X * number) for number in range(8)))
            assert [answer.outputs["y"][0] for answer in answers] == [3.0 * number for number in range(8)]
            assert answers[0].site == "cellar"
            assert (await client.metadata("double")).version == 4
            assert await client.ready() is True
            grpc_server.fail = (grpc.StatusCode.NOT_FOUND, "no such model")
            with pytest.raises(NotFoundError, match="no such model"):
                await client.predict("double", {"x": X})
        with pytest.raises(FailedPreconditionError, match="closed"):
            await client.predict("double", {"x": X})

    asyncio.run(ask())
