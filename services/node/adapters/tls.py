"""Certificates of the link: whom the node trusts, who it is, and what is the matter when that fails.

gRPC only says that a handshake failed. Which side refused what is found out with a second handshake.
"""

import asyncio
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

import grpc

from services.node.adapters.certificates import ends_s

TIMEOUT_S = 5.0
HTTP2_BEGIN = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What a client of HTTP/2 says first: a server that takes the node answers with settings of its own."""

# OpenSSL's numbers, which Python passes on without names.
_DATES_WRONG = {9, 10}
_NAME_WRONG = {62, 64}


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM files for links with TLS; None for what is built in, or not used."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def for_grpc(self) -> grpc.ChannelCredentials:
        """Returns them as gRPC takes them. Blocking."""

        def content(path: Path | None) -> bytes | None:
            return path.read_bytes() if path else None

        return grpc.ssl_channel_credentials(content(self.ca), content(self.key), content(self.cert))

    def context(self) -> ssl.SSLContext:
        """Returns them as Python takes them. Blocking; raises OSError for files that cannot be used."""
        context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
        context.set_alpn_protocols(["h2"])
        if self.cert:
            context.load_cert_chain(self.cert, self.key)
        return context


async def tls_trouble(host: str, port: int, credentials: Credentials) -> str | None:
    """Returns the reason why TLS fails with a controller; None if it does not, or nobody answers."""
    try:
        context = await asyncio.to_thread(credentials.context)
        own_end_s = await asyncio.to_thread(ends_s, credentials.cert)
    except OSError:
        return "NODE_CERTIFICATE_UNUSABLE"
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            try:
                # In TLS 1.3 a node's certificate is refused only after the handshake, instead of an answer.
                writer.write(HTTP2_BEGIN)
                answered = bool(await reader.read(1))
            finally:
                writer.transport.abort()
    except ssl.SSLCertVerificationError as error:
        return _verification(error.verify_code)
    except (ssl.SSLError, ConnectionResetError):
        answered = False
    except (OSError, TimeoutError):
        return None
    if answered:
        return None
    if credentials.cert is None:
        return "NODE_CERTIFICATE_MISSING"
    expired = own_end_s is not None and own_end_s < time.time()
    return "NODE_CERTIFICATE_EXPIRED" if expired else "NODE_CERTIFICATE_REFUSED"


def _verification(code: int) -> str:
    if code in _DATES_WRONG:
        return "CONTROLLER_CERTIFICATE_EXPIRED"
    if code in _NAME_WRONG:
        return "CONTROLLER_CERTIFICATE_NAME_WRONG"
    return "CONTROLLER_CERTIFICATE_UNTRUSTED"
