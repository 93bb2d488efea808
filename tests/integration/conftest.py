"""What the suites around running servers share."""

import grpc
import pytest

from support.certificates import Authority
from support.grpc_questions import GrpcQuestions
from support.waiting import wait_for


@pytest.fixture(scope="session")
def until():
    return wait_for


@pytest.fixture
def grpc_calls():
    """Makes `GrpcQuestions` to a server (or on a channel), closed after the test."""
    channels = []

    def make(server_or_channel):
        channel = server_or_channel
        if not isinstance(channel, grpc.Channel):
            channel = grpc.insecure_channel(channel.grpc_target)
        channels.append(channel)
        return GrpcQuestions(channel)

    yield make
    for channel in channels:
        channel.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Makes certificate authorities."""
    directory = tmp_path_factory.mktemp("authorities")
    return lambda name: Authority(directory, name)
