"""Fetches files over HTTPS: with limits, from allowed addresses only, and telling nobody the credentials."""

import base64
import http.client
import socket
import ssl
import time
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from services.chutes.adapters.addresses import resolve
from services.chutes.domain.downloads import check_url
from services.chutes.domain.spec import Credentials
from services.common.errors import FailedPrecondition, ResourceExhausted, Unavailable

TIMEOUT_S = 30.0
MAX_REDIRECTS = 5
CHUNK_BYTES = 256 * 1024
OK = 200
REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Place:
    """A file on a server."""

    url: str
    credentials: Credentials | None = None

    @property
    def host(self) -> str:
        """Name of the server."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Port of the server."""
        return urlsplit(self.url).port or http.client.HTTPS_PORT

    def moved_to(self, location: str) -> "Place":
        """Returns the place that a redirect names; credentials are for the first server alone."""
        url = urljoin(self.url, location)
        check_url(url, "download.url")
        other = Place(url)
        same = (other.host, other.port) == (self.host, self.port)
        return replace(other, credentials=self.credentials) if same else other


class HttpsFiles:
    """Fetches files; blocking."""

    def __init__(self, trusted: Collection[str], ca_file: Path | None) -> None:
        self._trusted = trusted
        self._ca_file = ca_file

    def read(self, place: Place, max_bytes: int, deadline_s: float) -> Iterator[bytes]:
        """Yields a file; `deadline_s` is of the monotonic clock. Raises a DomainError with what failed."""
        try:
            for _ in range(MAX_REDIRECTS + 1):
                with closing(self._connect(place)) as connection:
                    answer = self._ask(connection, place)
                    if answer.status in REDIRECTS:
                        place = place.moved_to(answer.getheader("location") or "")
                        continue
                    _require_ok(answer.status)
                    yield from _content(answer, max_bytes, deadline_s)
                    return
        except ssl.SSLCertVerificationError as error:
            raise FailedPrecondition(
                "The server of the download cannot prove who it is; its certificate is not valid here.",
                reason="DOWNLOAD_CERTIFICATE_INVALID",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(
                "The server of the download does not answer as it should; try again later.",
                reason="DOWNLOAD_FAILED",
            ) from error
        raise FailedPrecondition(
            f"The download is passed on more than {MAX_REDIRECTS} times; use its final address.",
            reason="DOWNLOAD_FAILED",
        )

    def _connect(self, place: Place) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=self._ca_file)
        addresses = resolve(place.host, place.port, self._trusted)
        return _Pinned(place.host, place.port, addresses, context)

    def _ask(self, connection: http.client.HTTPSConnection, place: Place) -> http.client.HTTPResponse:
        parts = urlsplit(place.url)
        headers = {"User-Agent": "Paradrop", "Accept-Encoding": "identity"}
        if place.credentials is not None:
            headers["Authorization"] = basic(place.credentials)
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        connection.request("GET", target, headers=headers)
        return connection.getresponse()


class _Pinned(http.client.HTTPSConnection):
    """Connects to addresses that were looked at before, and checks the certificate for the name."""

    def __init__(self, host: str, port: int, addresses: list[str], context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=TIMEOUT_S, context=context)
        self._addresses = addresses
        self._tls = context

    def connect(self) -> None:
        failure: OSError | None = None
        for address in self._addresses:
            try:
                plain = socket.create_connection((address, self.port), TIMEOUT_S)
            except OSError as error:
                failure = error
                continue
            self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
            return
        raise failure or OSError("no address")


def basic(credentials: Credentials) -> str:
    """Returns the value of an Authorization header."""
    pair = f"{credentials.user}:{credentials.secret}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _require_ok(status: int) -> None:
    if status == OK:
        return
    reason, advice = "DOWNLOAD_FAILED", "see that the address is right"
    if status in (401, 403):
        reason, advice = "DOWNLOAD_DENIED", "see that user and secret are right"
    raise FailedPrecondition(
        f"The server of the download answers with status {status}; {advice}.",
        reason=reason,
        status=str(status),
    )


def _content(answer: http.client.HTTPResponse, max_bytes: int, deadline_s: float) -> Iterator[bytes]:
    read_bytes = 0
    while chunk := answer.read(CHUNK_BYTES):
        read_bytes += len(chunk)
        if read_bytes > max_bytes:
            raise too_large(max_bytes)
        if time.monotonic() > deadline_s:
            raise Unavailable("The download took too long; try again later.", reason="DOWNLOAD_FAILED")
        yield chunk
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)


def too_large(max_bytes: int) -> ResourceExhausted:
    """There is more than a chute may be."""
    return ResourceExhausted(
        f"The download is larger than {max_bytes} bytes; leave out what the chute does not need, or raise "
        "PARADROP_MAX_UPLOAD_MIB.",
        reason="DOWNLOAD_TOO_LARGE",
        limit_bytes=str(max_bytes),
    )
