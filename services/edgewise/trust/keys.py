"""Ed25519 keys: a file holds a private key in PEM, and a public key travels as 64 hexadecimal digits.

Source: RFC 8032.
"""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError
from edgewise.trust.durable_files import sync_directory

PUBLIC_BYTES: Final = 32


class SigningKey:
    """A private key.

    Attributes:
        private: of the package cryptography.
        public_hex: its public half, 64 hexadecimal digits.
        key_id: SHA-256 of the public half's 32 bytes, in hexadecimal digits.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self.private = private
        raw = private.public_key().public_bytes_raw()
        self.public_hex = raw.hex()
        self.key_id = hashlib.sha256(raw).hexdigest()

    @classmethod
    def generated(cls) -> "SigningKey":
        """A new one."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path) -> "SigningKey":
        """From a file in PEM.

        Raises: FailedPreconditionError: it cannot be read, or holds no such key.
        """
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise FailedPreconditionError(f"the key {path} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            raise FailedPreconditionError(f"{path} holds no private key in PEM without a password") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise FailedPreconditionError(f"{path} holds a key of another kind, expected Ed25519")
        return cls(key)

    def write(self, path: Path) -> None:
        """To a file that only its owner may read, and that lasts.

        Raises: AlreadyExistsError: there is a file already; a key is never written over.
        """
        content = self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole under another name first: a key that was half written would be there for good.
        beside = path.with_name(f".{path.name}.new")
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)
        except FileExistsError:
            raise AlreadyExistsError(f"there is a key at {path} already; remove it if it is to be replaced") from None
        finally:
            beside.unlink()
        sync_directory(path.parent)

    def sign(self, content: bytes) -> bytes:
        """64 bytes."""
        return self.private.sign(content)


class VerifyingKey:
    """A public key.

    Args:
        public_hex: 64 hexadecimal digits.

    Attributes:
        public_hex, key_id: as in `SigningKey`.

    Raises: InvalidArgumentError: it is none.
    """

    def __init__(self, public_hex: str) -> None:
        try:
            raw = bytes.fromhex(public_hex)
        except ValueError:
            raw = b""
        if len(raw) != PUBLIC_BYTES or len(public_hex) != 2 * PUBLIC_BYTES:
            raise InvalidArgumentError("found no public key, expected Ed25519 as 64 hexadecimal digits")
        self._key = Ed25519PublicKey.from_public_bytes(raw)
        self.public_hex = public_hex.lower()
        self.key_id = hashlib.sha256(raw).hexdigest()

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Whether the owner of the private half signed this."""
        try:
            self._key.verify(signature, content)
        except InvalidSignature:
            return False
        return True
