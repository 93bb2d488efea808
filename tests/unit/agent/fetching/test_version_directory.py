from pathlib import Path

import pytest

from edgewise.agent.fetching.place import version_directory
from edgewise.core.errors import InvalidArgumentError


@pytest.mark.parametrize("text", ["/models/pets/1", "/models/pets/1/", "/models/./pets/1"])
def test_directories(text):
    assert version_directory(text) == Path("/models/pets/1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("/", "expected DIR/MODEL/VERSION"),
        ("/models/$(MODEL_NAME)/1", "is the key MODEL_NAME missing"),
        # What /models/$(MODEL_NAME)/$(MODEL_VERSION) becomes when a value is empty.
        ("/models//1", "Is MODEL_NAME or MODEL_VERSION empty"),
        ("/models/pets/", "Is MODEL_NAME or MODEL_VERSION empty"),
    ],
)
def test_what_a_manifest_left_out(text, message):
    with pytest.raises(InvalidArgumentError) as caught:
        version_directory(text)
    assert message in caught.value.message
