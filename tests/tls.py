"""A certificate for tests, of 127.0.0.1."""

import subprocess
from pathlib import Path


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Writes cert.pem and key.pem to `folder` and returns both paths."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-out", str(certificate), "-keyout", str(key)], check=True, capture_output=True)
    return certificate, key
