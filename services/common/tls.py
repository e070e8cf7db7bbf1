"""Mutual TLS among the parts of a node that meet on a network instead of at unix sockets.

Each part has a folder with two files: `ca.pem`, the authority of this node, and `part.pem`, its own key and
the certificate for its name. Auth issues them; who has none of them is no part of the node and is refused.
"""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from services.common.settings import Settings

AUTHORITY_FILE, PART_FILE = "ca.pem", "part.pem"
CHECK_INTERVAL_S = 5.0


class CertificateError(Exception):
    """A part has no certificate; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a part shows to others, and whom it believes."""

    folder: Path
    authority: bytes
    part: bytes = field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> "Certificate":
        """Returns what is in the folder of a part; raises OSError if it is not there. Blocking."""
        return cls(folder, *((folder / name).read_bytes() for name in (AUTHORITY_FILE, PART_FILE)))

    def for_server(self) -> grpc.ServerCredentials:
        """Returns what lets a server show itself and ask the same of its callers."""
        return grpc.ssl_server_credentials([(self.part, self.part)], self.authority, require_client_auth=True)

    def for_client(self) -> grpc.ChannelCredentials:
        """Returns what lets a client show itself and believe servers of this node alone."""
        return grpc.ssl_channel_credentials(self.authority, self.part, self.part)

    def context(self) -> ssl.SSLContext:
        """Returns the same for a client that speaks plain HTTP."""
        context = ssl.create_default_context(cadata=self.authority.decode())
        context.load_cert_chain(self.folder / PART_FILE)
        return context


def certificate_of(settings: Settings) -> Certificate | None:
    """Reads the certificate of this process; None if the parts meet at unix sockets. Blocking.

    Raises `CertificateError` while auth has not issued it.
    """
    folder = settings.internal_tls
    if folder is None:
        return None
    try:
        return Certificate.read(folder)
    except OSError as error:
        raise CertificateError(
            f"There is no certificate in {folder} ({error.strerror}): auth issues it when it starts. "
            "See that it runs, and that PARADROP_INTERNAL_TLS names a folder beside its own."
        ) from None


def is_network_address(address: str) -> bool:
    """Tells whether others than this machine's own users could reach an address of a service."""
    return not address.startswith("unix:")


def named(name: str) -> list[tuple[str, str]]:
    """Returns the options of a channel to the part of a name: that is what its certificate must say."""
    return [("grpc.ssl_target_name_override", name), ("grpc.default_authority", name)]


def blocking_channel(settings: Settings, name: str) -> grpc.Channel:
    """Opens a channel to a service for a command. Blocking."""
    address, certificate = settings.addresses[name], certificate_of(settings)
    if certificate is None or not is_network_address(address):
        return grpc.insecure_channel(address)
    return grpc.secure_channel(address, certificate.for_client(), named(name))


async def until_renewed(certificate: Certificate, interval_s: float = CHECK_INTERVAL_S) -> None:
    """Waits until another certificate lies where this one was read."""
    while True:
        present = await asyncio.to_thread(_content, certificate.folder)
        if present not in (b"", certificate.part):
            return
        await asyncio.sleep(interval_s)


def _content(folder: Path) -> bytes:
    try:
        return (folder / PART_FILE).read_bytes()
    except OSError:
        return b""
