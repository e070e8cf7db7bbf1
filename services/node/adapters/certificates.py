"""Reads certificates. Blocking."""

from contextlib import suppress
from pathlib import Path


def ends_s(path: Path | None) -> float | None:
    """Returns when the certificate in a PEM file ends, in seconds since 1970; None if it cannot be read."""
    if path is None:
        return None
    # Only here: it takes memory that most nodes need not spend.
    from cryptography import x509

    with suppress(OSError, ValueError):
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
    return None
