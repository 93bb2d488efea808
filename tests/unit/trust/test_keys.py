"""Ed25519 keys: files that only their owner reads and that are never written over, public halves as text."""

import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError
from edgewise.trust.keys import SigningKey, VerifyingKey

# RFC 8032, section 7.1, test 2.
SECRET = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
SIGNATURE = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def test_the_vector_of_the_rfc():
    key = SigningKey(ed25519.Ed25519PrivateKey.from_private_bytes(SECRET))
    assert key.public_hex == PUBLIC
    assert key.sign(b"\x72").hex() == SIGNATURE
    assert VerifyingKey(PUBLIC).verifies(bytes.fromhex(SIGNATURE), b"\x72")
    assert VerifyingKey(PUBLIC.upper()).key_id == key.key_id


def test_a_key_file_comes_back_and_is_its_owners(tmp_path):
    key = SigningKey.generated()
    path = tmp_path / "new" / "site.key"
    key.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["site.key"]
    again = SigningKey.read(path)
    assert (again.public_hex, again.key_id) == (key.public_hex, key.key_id)
    assert VerifyingKey(key.public_hex).verifies(again.sign(b"x"), b"x")


def test_a_key_is_never_written_over(tmp_path):
    path = tmp_path / "site.key"
    first = SigningKey.generated()
    first.write(path)
    with pytest.raises(AlreadyExistsError, match="there is a key at"):
        SigningKey.generated().write(path)
    assert SigningKey.read(path).public_hex == first.public_hex
    assert [each.name for each in tmp_path.iterdir()] == ["site.key"]


def test_what_a_killed_process_left_is_no_obstacle(tmp_path):
    (tmp_path / ".site.key.new").write_bytes(b"half")
    SigningKey.generated().write(tmp_path / "site.key")
    assert [each.name for each in tmp_path.iterdir()] == ["site.key"]


def pem(key, password=None):
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no private key in PEM without a password"),
        (b"\x00\xff", "no private key in PEM without a password"),
        (pem(ed25519.Ed25519PrivateKey.generate(), b"secret"), "no private key in PEM without a password"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "a key of another kind, expected Ed25519"),
    ],
)
def test_other_files_are_no_keys(tmp_path, content, words):
    path = tmp_path / "site.key"
    path.write_bytes(content)
    with pytest.raises(FailedPreconditionError, match=words):
        SigningKey.read(path)


def test_a_key_that_is_not_there(tmp_path):
    with pytest.raises(FailedPreconditionError, match="cannot be read: No such file"):
        SigningKey.read(tmp_path / "site.key")


@pytest.mark.parametrize(
    "text", ["", "ab", PUBLIC[:-1], PUBLIC + "00", "zz" * 32, " " + PUBLIC[1:], PUBLIC[:62] + "  "]
)
def test_other_texts_are_no_public_keys(text):
    with pytest.raises(InvalidArgumentError, match="64 hexadecimal digits"):
        VerifyingKey(text)
