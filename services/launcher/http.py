"""Asks HTTP servers on this machine whether they are there."""

import http.client
import socket
import ssl

TIMEOUT_S = 3.0


def get(address: str, path: str, timeout_s: float = TIMEOUT_S) -> tuple[int, bytes]:
    """Returns status and body, or raises OSError. Blocking.

    `address` is unix:PATH, unix://PATH, or tcp://, http:// or https:// with host and port.
    """
    connection = _connection(address, timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"what listens at {address} does not speak HTTP") from error
    finally:
        connection.close()


def _connection(address: str, timeout_s: float) -> http.client.HTTPConnection:
    scheme, _, rest = address.partition(":")
    if scheme == "unix":
        return _UnixConnection(rest.removeprefix("//"), timeout_s)
    host, _, port = rest.removeprefix("//").rstrip("/").rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal():
        raise OSError(f"{address} is not an address with host and port")
    if scheme == "https":
        # Only asks whether our own gateway is up, which may have a certificate for any name.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(host, int(port), timeout=timeout_s, context=context)
    if scheme in ("tcp", "http"):
        return http.client.HTTPConnection(host, int(port), timeout=timeout_s)
    raise OSError(f"{address} has a scheme that is not supported; use unix:// or tcp://")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
