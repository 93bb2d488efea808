"""Certificates made by the openssl command, valid for two days."""

import subprocess
from pathlib import Path

LOCALHOST = "DNS:localhost,IP:127.0.0.1"


def openssl(*words: object) -> None:
    """Run the openssl command."""
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def _request(directory: Path, name: str, *words: object) -> tuple[Path, Path]:
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
        *("-subj", f"/CN={name}", "-keyout", key, "-out", certificate, *words),
    )
    return certificate, key


def self_signed(directory: Path, name: str = "localhost") -> tuple[Path, Path]:
    """Paths of a certificate for that name and of its key, signed with that key."""
    return _request(directory, name, "-addext", f"subjectAltName=DNS:{name}")


class Authority:
    """Signs leaf certificates.

    Attributes:
        certificate, key: paths of its own.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.certificate, self.key = _request(directory, name)

    def leaf(self, name: str, *, valid_for: str = LOCALHOST) -> tuple[Path, Path]:
        """Paths of a certificate and of its key.

        Args:
            name: the files' and the subject's.
            valid_for: the subject's alternative names.
        """
        return _request(
            self.directory,
            name,
            *("-addext", f"subjectAltName={valid_for}", "-addext", "basicConstraints=critical,CA:FALSE"),
            *("-CA", self.certificate, "-CAkey", self.key),
        )
