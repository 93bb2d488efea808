"""The questions of a study to a real server: what it answers, and what is read of the answer, in each protocol."""

import http.client
import json

import numpy as np
import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.study import answers, questions, signatures
from edgewise.study.cells import PROTOCOLS, Cell
from edgewise.study.scenario import GatewaySpec, Inputs, ModelSpec, RunSettings, Scenario, SiteSpec, Sweep
from edgewise.study.scenario_models import zoo_image_signature
from support.waiting import WAIT_S

PHOTOGRAPHS = ("cat.jpg", "dog.jpg", "espresso.jpg", "kitten.jpg")


def scenario_of(model, images, **inputs):
    return Scenario(
        title="questions",
        seed=3,
        text="",
        run=RunSettings(),
        models=(model,),
        sites=(SiteSpec("cloud", "cloud"), SiteSpec("edge", "edge")),
        gateway=GatewaySpec(),
        inputs=Inputs(images=images, **inputs),
        sweep=Sweep(("edge",), ("none",), (model.name,), PROTOCOLS, (10.0,)),
    )


def cell_of(model, protocol):
    return Cell("edge", "", model.name, protocol, 10.0, 10.0)


def described(server, model):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=WAIT_S)
    try:
        for path in signatures.metadata_paths(model):
            connection.request("GET", path)
            answer = connection.getresponse()
            yield answer.status, answer.read()
    finally:
        connection.close()


def answer_to(server, asking, question, grpc_calls):
    if asking.transport == "grpc":
        body, code, message, _ = grpc_calls(server).call(asking.path, question.body, metadata=asking.headers)
        assert code is None, message
        return body
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=WAIT_S)
    try:
        headers = {**dict(asking.headers), "content-type": asking.content_type}
        connection.request("POST", asking.path, question.body, headers)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        return body
    finally:
        connection.close()


@pytest.fixture(scope="module")
def pets(start_server, pets_repository):
    return start_server("--repository", str(pets_repository))


@pytest.fixture(scope="module")
def tiny(start_server, tiny_repository):
    return start_server("--repository", str(tiny_repository))


PETS = ModelSpec("pets", "pets", "pets")
TINY = ModelSpec("tiny", "tiny", "tiny")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_photograph_gets_the_same_verdict_in_each_protocol(pets, images, grpc_calls, protocol):
    asking = questions.make(scenario_of(PETS, images, labels=images / "labels.csv"), cell_of(PETS, protocol))
    chosen = [question for question in asking.questions if question.source in PHOTOGRAPHS]
    right = answers.judge(protocol, chosen)

    said = {}
    for place, question in enumerate(chosen):
        body = answer_to(pets, asking, question, grpc_calls)
        said[question.source] = answers.verdict(protocol, body)
        assert right(place, body) is True
    assert said == {"cat.jpg": "cat", "dog.jpg": "dog", "espresso.jpg": "other", "kitten.jpg": "cat"}


def test_a_server_that_tells_its_signatures_is_asked_as_one_whose_kind_is_known(pets, images):
    (status, told), (_, of_default) = described(pets, "pets")
    assert status == 200
    unknown = ModelSpec("animals", "pets", "repository")
    for protocol in PROTOCOLS:
        of_kind = questions.make(scenario_of(PETS, images), cell_of(PETS, protocol))
        of_metadata = questions.make(scenario_of(unknown, images), cell_of(unknown, protocol), told)
        assert of_metadata == of_kind

    # The Open Inference Protocol tells the default signature alone, which takes a tensor.
    with pytest.raises(InvalidArgumentError, match="takes no photographs, so it cannot answer rest-image"):
        questions.make(scenario_of(unknown, images), cell_of(unknown, "rest-image"), of_default)


@pytest.mark.parametrize("protocol", [one for one in PROTOCOLS if one != "rest-image"])
@pytest.mark.parametrize("way", [0, 1])
def test_numbers_are_answered_alike_in_each_protocol(tiny, images, grpc_calls, protocol, way):
    from edgewise.model_server.building import tiny as network

    (_, told) = list(described(tiny, "tiny"))[way]
    asking = questions.make(scenario_of(TINY, images, limit=5), cell_of(TINY, protocol), told)
    assert len(asking.questions) == 5
    as_json = questions.make(scenario_of(TINY, images, limit=5), cell_of(TINY, "rest-json"), told)
    for question, same in zip(asking.questions, as_json.questions, strict=True):
        row = np.array(json.loads(same.body)["instances"], np.float32)
        expected = str(int(np.argmax(network.answer(row)[0])))
        assert answers.verdict(protocol, answer_to(tiny, asking, question, grpc_calls)) == expected


def test_a_network_of_the_zoo_answers_photographs_with_the_tables_of_its_scenario(
    start_server, images, grpc_calls, tmp_path
):
    from edgewise.model_server.building import zoo

    (built,) = zoo.build(tmp_path, only=["squeezenet"], report=print)
    config = built.directory / "model.toml"
    config.write_text(f"{config.read_text()}\n{zoo_image_signature('squeezenet')}")
    server = start_server("--repository", str(tmp_path))
    model = ModelSpec("squeezenet", "squeezenet", "zoo", network="squeezenet")
    for protocol in PROTOCOLS:
        asking = questions.make(scenario_of(model, images, limit=1, short_side_px=96), cell_of(model, protocol))
        body = answer_to(server, asking, asking.questions[0], grpc_calls)
        assert answers.verdict(protocol, body).startswith("class ")
