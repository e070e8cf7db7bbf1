"""Clients of the SDK that leave no socket open when there is no engine to connect to."""

import socket
from typing import Any

import docker
from docker.constants import MINIMUM_DOCKER_API_VERSION
from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool

LOWEST_VERSION = MINIMUM_DOCKER_API_VERSION
"""Every engine that can be used understands it, and it costs no question."""

_UNIX_URL = "http+docker://"


def open_client(address: str, version: str, timeout_s: int) -> docker.APIClient:
    """Returns a client; it connects when it is first used."""
    client = docker.APIClient(address, version=version, timeout=timeout_s)
    # Proxies and .netrc are for the outside world, not for the engine.
    client.trust_env = False
    adapter = client.get_adapter(client.base_url)
    if isinstance(adapter, UnixHTTPAdapter):
        client.mount(_UNIX_URL, _Adapter(adapter.socket_path, timeout_s))
        adapter.close()
    return client


class _Connection(UnixHTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(self.unix_socket)
        except BaseException:
            self.sock.close()
            self.sock = None
            raise


class _Pool(UnixHTTPConnectionPool):
    def _new_conn(self) -> Any:
        return _Connection(self.base_url, self.socket_path, self.timeout)  # type: ignore[arg-type]


class _Adapter(UnixHTTPAdapter):
    def get_connection(self, url: bytes | str, proxies: Any = None) -> UnixHTTPConnectionPool:
        with self.pools.lock:
            pool: UnixHTTPConnectionPool | None = self.pools.get(url)
            if pool is None:
                pool = _Pool(str(url), self.socket_path, self.timeout, maxsize=self.max_pool_size)
                self.pools[url] = pool
            return pool
