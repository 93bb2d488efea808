from pathlib import Path

import pytest

from edgewise.agent.fetching.uris import FileUri, HttpUri, OciUri, S3Uri, checked_digest, parse_sha256, parse_uri
from edgewise.core.errors import InvalidArgumentError

HEX = "ab" * 32


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("models/pets.zip", FileUri(Path("models/pets.zip"))),
        ("file:///data/a%20b", FileUri(Path("/data/a b"))),
        ("file://localhost/data", FileUri(Path("/data"))),
        ("https://models.example/pets.tar.gz#part", HttpUri("https://models.example/pets.tar.gz")),
        ("s3://models/pets/1/", S3Uri("models", "pets/1/")),
        ("s3://models", S3Uri("models", "")),
        ("oci://registry.example:5000/my.models/pets:v1", OciUri("registry.example:5000", "my.models/pets", "v1", "")),
        ("oci://registry/pets", OciUri("registry", "pets", "latest", "")),
        (f"oci://[::1]:5000/pets:v1@sha256:{HEX}", OciUri("[::1]:5000", "pets", "v1", HEX)),
    ],
)
def test_what_uris_name(text, found):
    assert parse_uri(text) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the key MODEL_URI empty in the ConfigMap model-source"),
        ("$(MODEL_URI)", "is the key MODEL_URI missing in the ConfigMap model-source"),
        ("s3://models/$(MODEL_NAME)/1", "is the key MODEL_NAME missing in the ConfigMap model-source"),
        ("https://${HOST}/x", "nothing was put in place of ${HOST}"),
        ("ftp://host/x", "expected a path, file:///PATH, http(s)://, s3://BUCKET/KEY or oci://"),
        ("file://data/pets", "three slashes"),
        ("http:///x", "names no host"),
        ("http://host:99999/x", "cannot be read"),
        ("https://host/a b", "%XX"),
        ("s3://", "expected s3://BUCKET/KEY"),
        ("oci://registry.example", "expected oci://HOST"),
        ("oci://registry.example/Pets", "in lower case"),
        ("oci://registry.example/pets@md5:00", "sha256: and 64 hexadecimal digits"),
    ],
)
def test_uris_that_name_nothing(text, message):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_uri(text)
    assert message in caught.value.message


def test_secrets_are_not_shown():
    shown = parse_uri("https://user:secret@models.example/pets.zip?X-Amz-Signature=secret").shown
    assert shown == "https://models.example/pets.zip?…"


def test_digests_are_read_as_tools_print_them():
    assert parse_sha256(f" sha256:{HEX.upper()}\n") == HEX


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--sha256 is empty; is the key MODEL_SHA256 empty"),
        ("$(MODEL_SHA256)", "is the key MODEL_SHA256 missing"),
        ("0" * 40, "40 characters (SHA-1 has that many)"),
        ("g" * 64, "`edgewise fetch --digest PATH` prints"),
    ],
)
def test_what_is_no_digest(text, message):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_sha256(text)
    assert message in caught.value.message


def test_a_digest_is_required_unless_pinned_or_waived():
    pinned = OciUri("registry", "pets", "latest", HEX)
    file = FileUri(Path("x"))
    assert checked_digest(pinned, None, unverified=False) == ""
    assert checked_digest(pinned, HEX, unverified=False) == HEX
    assert checked_digest(file, None, unverified=True) == ""
    for uri, sha256, unverified, message in (
        (file, None, False, "--sha256 HEX is missing"),
        (file, HEX, True, "contradict"),
        (pinned, "00" * 32, False, "the URI pins"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            checked_digest(uri, sha256, unverified=unverified)
