"""The two clients: one that blocks, one for asyncio."""

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from edgewise.client.call import Inputs, checked_timeout_s, model_spec, predict_call
from edgewise.client.conversations import Conversation, RestSpeaker, Speaker
from edgewise.client.endpoint import Endpoint, FilePath, parse_endpoint
from edgewise.client.prediction import ModelMetadata, Prediction
from edgewise.core.errors import EdgewiseError, InvalidArgumentError
from edgewise.core.versions import VersionStatus

DEFAULT_TIMEOUT_S = 10.0

Result = TypeVar("Result")


class _Transport(Protocol):
    def send(self, request: Any) -> Any: ...

    def close(self) -> None: ...


class _AsyncTransport(Protocol):
    async def send(self, request: Any) -> Any: ...

    async def close(self) -> None: ...


class Client:
    """Asks models for predictions over REST or gRPC; safe to share between threads.

        with Client("http://127.0.0.1:8501") as client:
            answer = client.predict("pets", "cat.jpg")
            print(answer.outputs["labels"], answer.site)

    Args:
        url: `http://HOST:PORT`, `https://...` (REST), `grpc://...` or `grpcs://...` (gRPC).
        api_key: sent with every request.
        timeout_s: seconds for a whole call, where the call says nothing else.
        ca_file: certificates to trust instead of the system's.
        cert_file, key_file: the certificate to show, and its key where that is in a file of its own.

    Raises:
        InvalidArgumentError: a URL or file that cannot be used.
        FailedPreconditionError: a gRPC URL, and the extra `grpc` is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        ca_file: FilePath | None = None,
        cert_file: FilePath | None = None,
        key_file: FilePath | None = None,
    ) -> None:
        endpoint = parse_endpoint(url, ca_file=ca_file, cert_file=cert_file, key_file=key_file)
        self._timeout_s = checked_timeout_s(timeout_s)
        self._speaker = _speaker(endpoint, api_key)
        self._transport = _transport(endpoint)

    def predict(
        self,
        model: str,
        inputs: Inputs,
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str | None = None,
        outputs: Sequence[str] = (),
        timeout_s: float | None = None,
        request_id: str | None = None,
        route: str | None = None,
        source: str | None = None,
        idempotent: bool = True,
    ) -> Prediction:
        """Ask for a prediction.

        Args:
            model: its name.
            inputs: a numpy array for a model with one input, a dict of arrays by input name, or an encoded image
                (JPEG, PNG, WebP) as bytes or as the path of its file.
            version: a number; None means the latest, or what `label` says.
            label: such as `stable`; not together with `version`.
            signature: which function of the model; None means its default for what is given.
            outputs: names of the outputs wanted; empty means all.
            timeout_s: seconds for the whole call; the servers on the way are told what is left of it.
            request_id: comes back with the answer, and stands in the servers' logs.
            route: the gateway's route to take, such as `prefer-edge`.
            source: what the inputs come from, such as a camera's name; a gateway that keeps samples notes it with them.
            idempotent: False forbids every second attempt, here and in a gateway.

        Returns: the outputs, and who computed them.

        Raises:
            InvalidArgumentError: the call is malformed or does not fit the model.
            NotFoundError: no such model or version.
            DeadlineExceededError: no answer in time.
            UnavailableError: the server cannot be reached, or is not ready.
            EdgewiseError: any other error of `edgewise.core.errors`, as the server said.
        """
        call = predict_call(
            model_spec(model, version, label),
            inputs,
            signature=signature,
            outputs=outputs,
            timeout_s=self._timeout_s if timeout_s is None else timeout_s,
            request_id=request_id,
            route=route,
            source=source,
            idempotent=idempotent,
        )
        return self._hold(self._speaker.predict(call))

    def metadata(
        self, model: str, *, version: int | None = None, label: str | None = None, timeout_s: float | None = None
    ) -> ModelMetadata:
        """The signatures of a model: names, dtypes and shapes of what it takes and gives.

        Raises:
            EdgewiseError: as `predict`.
        """
        spec = model_spec(model, version, label)
        return self._hold(self._speaker.metadata(spec, _deadline_s(self._timeout_s, timeout_s)))

    def status(
        self, model: str, *, version: int | None = None, timeout_s: float | None = None
    ) -> tuple[VersionStatus, ...]:
        """The states of a model's versions.

        Raises:
            EdgewiseError: as `predict`.
        """
        spec = model_spec(model, version, None)
        return self._hold(self._speaker.status(spec, _deadline_s(self._timeout_s, timeout_s)))

    def ready(self, *, timeout_s: float | None = None) -> bool:
        """Whether every model that should serve is loaded and warm; False as well when nobody answers there.

        Raises:
            EdgewiseError: the server answered something else than yes or no.
        """
        return self._hold(self._speaker.ready(_deadline_s(self._timeout_s, timeout_s)))

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _hold(self, conversation: Conversation[Result]) -> Result:
        """Carry out a conversation."""
        try:
            request = next(conversation)
            while True:
                try:
                    response = self._transport.send(request)
                except EdgewiseError as error:
                    request = conversation.throw(error)
                else:
                    request = conversation.send(response)
        except StopIteration as stop:
            result: Result = stop.value
            return result


class AsyncClient:
    """As `Client`, for asyncio: every method is a coroutine.

        async with AsyncClient("grpc://127.0.0.1:8500") as client:
            answer = await client.predict("pets", "cat.jpg")

    Arguments and errors are those of `Client`. An object belongs to the event loop it is first used on.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        ca_file: FilePath | None = None,
        cert_file: FilePath | None = None,
        key_file: FilePath | None = None,
    ) -> None:
        endpoint = parse_endpoint(url, ca_file=ca_file, cert_file=cert_file, key_file=key_file)
        self._endpoint = endpoint
        self._timeout_s = checked_timeout_s(timeout_s)
        self._speaker = _speaker(endpoint, api_key)
        self._made: _AsyncTransport | None = None

    async def predict(
        self,
        model: str,
        inputs: Inputs,
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str | None = None,
        outputs: Sequence[str] = (),
        timeout_s: float | None = None,
        request_id: str | None = None,
        route: str | None = None,
        source: str | None = None,
        idempotent: bool = True,
    ) -> Prediction:
        """Ask for a prediction; see `Client.predict`."""
        spec = model_spec(model, version, label)
        budget_s = self._timeout_s if timeout_s is None else timeout_s
        words: dict[str, Any] = {
            "signature": signature,
            "outputs": outputs,
            "timeout_s": budget_s,
            "request_id": request_id,
            "route": route,
            "source": source,
            "idempotent": idempotent,
        }
        if isinstance(inputs, str) or hasattr(inputs, "__fspath__"):
            # Reading a file blocks.
            call = await asyncio.to_thread(predict_call, spec, inputs, **words)
        else:
            call = predict_call(spec, inputs, **words)
        return await self._hold(self._speaker.predict(call))

    async def metadata(
        self, model: str, *, version: int | None = None, label: str | None = None, timeout_s: float | None = None
    ) -> ModelMetadata:
        """The signatures of a model; see `Client.metadata`."""
        spec = model_spec(model, version, label)
        return await self._hold(self._speaker.metadata(spec, _deadline_s(self._timeout_s, timeout_s)))

    async def status(
        self, model: str, *, version: int | None = None, timeout_s: float | None = None
    ) -> tuple[VersionStatus, ...]:
        """The states of a model's versions; see `Client.status`."""
        spec = model_spec(model, version, None)
        return await self._hold(self._speaker.status(spec, _deadline_s(self._timeout_s, timeout_s)))

    async def ready(self, *, timeout_s: float | None = None) -> bool:
        """Whether every model that should serve is loaded and warm; see `Client.ready`."""
        return await self._hold(self._speaker.ready(_deadline_s(self._timeout_s, timeout_s)))

    async def close(self) -> None:
        """Close the connections."""
        if self._made is not None:
            await self._made.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def _hold(self, conversation: Conversation[Result]) -> Result:
        """Carry out a conversation."""
        if self._made is None:
            self._made = _async_transport(self._endpoint)
        try:
            request = next(conversation)
            while True:
                try:
                    response = await self._made.send(request)
                except EdgewiseError as error:
                    request = conversation.throw(error)
                else:
                    request = conversation.send(response)
        except StopIteration as stop:
            result: Result = stop.value
            return result


# gRPC and protobuf cost memory and start-up time, asyncio's HTTP client too: each is imported by those who use it.


def _speaker(endpoint: Endpoint, api_key: str | None) -> Speaker:
    if api_key is not None and not (api_key and api_key.isascii() and api_key.isprintable()):
        raise InvalidArgumentError("api_key must be printable ASCII and not empty")
    if endpoint.is_grpc:
        from edgewise.client.grpc_speaker import GrpcSpeaker  # noqa: PLC0415

        return GrpcSpeaker(api_key)
    return RestSpeaker(api_key)


def _transport(endpoint: Endpoint) -> _Transport:
    if endpoint.is_grpc:
        from edgewise.client.grpc_transport import GrpcTransport  # noqa: PLC0415

        return GrpcTransport(endpoint)
    from edgewise.client.http_pool import HttpPool  # noqa: PLC0415

    return HttpPool(endpoint)


def _async_transport(endpoint: Endpoint) -> _AsyncTransport:
    if endpoint.is_grpc:
        from edgewise.client.grpc_transport import AsyncGrpcTransport  # noqa: PLC0415

        return AsyncGrpcTransport(endpoint)
    from edgewise.client.rest_transport import AsyncRestTransport  # noqa: PLC0415

    return AsyncRestTransport(endpoint)


def _deadline_s(default_s: float, timeout_s: float | None) -> float:
    return time.monotonic() + checked_timeout_s(default_s if timeout_s is None else timeout_s)
