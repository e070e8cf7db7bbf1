"""What the gateway does with the pages of chutes, as far as that needs no engine."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count

import pytest

from services.chutes.adapters.envoy_files import EnvoyFiles
from services.chutes.domain.ports import WebSite
from services.common.settings import WEB_DOMAIN
from tests.gateway.conftest import Answer, Gateway

pytestmark = pytest.mark.gateway

DEADLINE_S = 10


@contextmanager
def chute_server(reply: Callable[[bytes], bytes]) -> Iterator[int]:
    """Stands where a chute's service stands: answers each connection once and yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                request = b""
                while b"\r\n\r\n" not in request and (piece := connection.recv(65536)):
                    request += piece
                if request:
                    connection.sendall(reply(request))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


def echo(request: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/plain\r\n\r\n" + request


def publish(gateway: Gateway, *sites: WebSite) -> None:
    files = EnvoyFiles(gateway.settings.web_dir)
    files._version = time.monotonic_ns()
    asyncio.run(files.publish(sites))


def until(ask: Callable[[], Answer], status: int) -> Answer:
    deadline = time.monotonic() + DEADLINE_S
    while (answer := ask()).status != status:
        assert time.monotonic() < deadline, answer
        time.sleep(0.01)
    return answer


@pytest.fixture
def site(gateway: Gateway) -> Iterator[str]:
    with chute_server(echo) as port:
        publish(gateway, WebSite("web", "public", "127.0.0.1", port))
        until(lambda: gateway.request("GET", "/chutes/web/", token=False), 200)
        yield "/chutes/web"
    publish(gateway)
    until(lambda: gateway.request("GET", "/chutes/web/", token=False), 404)


def test_nothing_is_known_of_chutes_before_their_service_has_spoken(gateway: Gateway) -> None:
    first = json.loads((gateway.settings.web_dir / "clusters.json").read_text())
    assert first == {"version_info": "0", "resources": []}
    answer = gateway.request("GET", "/chutes/web/", token=False)
    assert (answer.status, answer.headers["content-type"]) == (502, "text/html; charset=utf-8")
    assert b"has not said yet where the pages of chutes are" in answer.body


def test_routes_come_and_go_and_no_request_reaches_a_service_of_the_node(gateway: Gateway, site: str) -> None:
    for path in (f"{site}/", f"{site}/api/v1/chutes", f"{site}//api/v1/auth/local"):
        assert gateway.request("GET", path, token=False).status == 200
    assert not gateway.doubles.calls
    assert not gateway.doubles.checks


@pytest.mark.parametrize(
    "path", ["/chutes/web/../../api/v1/chutes", "/chutes/web/%2e%2e/%2e%2e/api/v1/chutes"]
)
def test_dots_lead_out_of_the_pages_only_to_where_a_token_is_needed(
    gateway: Gateway, site: str, path: str
) -> None:
    assert gateway.request("GET", path, token=False).status == 401


@pytest.mark.parametrize("path", ["/chutes/web/..%2f..%2fapi/v1/chutes", "/chutes/web/a%2Fb"])
def test_escaped_slashes_are_the_chutes_business(gateway: Gateway, site: str, path: str) -> None:
    answer = gateway.request("GET", path, token=False)
    assert answer.body.splitlines()[0].decode() == f"GET {path.removeprefix('/chutes/web')} HTTP/1.1"


def test_a_page_may_speak_to_its_own_path_and_not_to_the_rest_of_the_node(
    gateway: Gateway, site: str
) -> None:
    policy = gateway.request("GET", f"{site}/", token=False).headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    own = f"http://{gateway.address}{site}/"
    assert set(rules["connect-src"].split()) == {
        own, own.replace("http:", "ws:"), "https:", "wss:", "blob:", "data:"
    }  # fmt: skip
    assert set(rules["frame-src"].split()) == {own, "https:", "blob:", "data:"}
    assert rules["form-action"] == rules["base-uri"] == own
    assert "allow-popups" not in rules["sandbox"]
    assert "allow-top-navigation" not in rules["sandbox"]
    # A host that could end the rule early is not put into it.
    odd = {"host": f"{gateway.address};x"}
    answer = gateway.request("GET", f"{site}/", headers=odd, token=False)
    assert answer.status == 400 or answer.headers["content-security-policy"] == "sandbox"


@pytest.mark.parametrize(
    ("said", "moved"),
    [
        ("/login?next=/", "/chutes/web/login?next=/"),
        ("/", "/chutes/web/"),
        ("next", "/chutes/web/next"),
        ("?page=2", "?page=2"),
        ("#part", "#part"),
        ("http://{host}?page=2", "http://{host}/chutes/web/?page=2"),
        ("//{host}/api/v1/chutes", "//{host}/chutes/web/api/v1/chutes"),
        ("///{host}/api", "//{host}/chutes/web/api"),
        ("/chutes/web/../../api/v1", "/chutes/web/api/v1"),
        ("/chutes/web/%2E%2e/.%2e/api/", "/chutes/web/api/"),
        ("/../../api/./v1/..", "/chutes/web/api/"),
        ("../../api/v1", "/chutes/web/"),
        ("x/../y?a=../b", "/chutes/web/y?a=../b"),
        ("\\\\{host}\\api", "//{host}/chutes/web/api"),
        ("/\\{host}\\api", "//{host}/chutes/web/api"),
        ("http:api/v1", "/chutes/web/"),
        ("HTTP://{host}/api", "HTTP://{host}/chutes/web/api"),
        ("mailto:somebody@example.org", "mailto:somebody@example.org"),
        ("//cdn.example/x", "//cdn.example/x"),
        ("https://elsewhere.example/x", "https://elsewhere.example/x"),
        ("http://{host}/x", "http://{host}/chutes/web/x"),
        ("http://{host}", "http://{host}/chutes/web/"),
        ("/chutes/web/x", "/chutes/web/x"),
    ],
)
def test_redirects_stay_below_the_path(gateway: Gateway, said: str, moved: str) -> None:
    def redirect(_: bytes) -> bytes:
        location = said.format(host=gateway.address)
        return f"HTTP/1.1 302 Found\r\nconnection: close\r\nlocation: {location}\r\n\r\n".encode()

    with chute_server(redirect) as port:
        publish(gateway, WebSite("web", "public", "127.0.0.1", port))
        answer = until(lambda: gateway.request("GET", "/chutes/web/", token=False), 302)
    assert answer.headers["location"] == moved.format(host=gateway.address)
    publish(gateway)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"", 502),
        (b"nonsense\r\n\r\n", 502),
        (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 3\r\n\r\nown", 502),
        (b"HTTP/1.1 503 Unavailable\r\ncontent-length: 3\r\n\r\nown", 503),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nown", 404),
    ],
)
def test_a_service_that_breaks_off_is_a_page_and_its_own_errors_are_its_own(
    gateway: Gateway, reply: bytes, expected: int
) -> None:
    with chute_server(lambda _: reply) as port:
        publish(gateway, WebSite("sick", "public", "127.0.0.1", port), WebSite("off", "public"))
        answer = until(lambda: gateway.request("GET", "/chutes/sick/", token=False), expected)
        until(lambda: gateway.request("GET", "/chutes/off/", token=False), 502)
        answer = gateway.request("GET", "/chutes/sick/", token=False)
    if b"own" in reply:
        assert answer.body == b"own"
    else:
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert b"does not answer" in answer.body
    publish(gateway)


def test_pages_of_users_are_asked_for_from_the_auth_service(gateway: Gateway) -> None:
    with chute_server(echo) as port:
        publish(gateway, WebSite("shut", "users", "127.0.0.1", port), WebSite("off", "users"))
        until(lambda: gateway.request("GET", "/chutes/shut/", token=False), 401)
        check = gateway.doubles.checks[-1].attributes
        assert dict(check.context_extensions) == {"role": "user"}
        host = {"host": f"shut.{WEB_DOMAIN}"}
        assert gateway.request("GET", "/", headers=host, token=False).status == 401
        answer = gateway.request("GET", "/chutes/shut/")
        assert (answer.status, b"authorization" in answer.body.lower()) == (200, False)
        gateway.doubles.checks.clear()
    publish(gateway)


@contextmanager
def keeping_server(answered: int, kept_s: float) -> Iterator[tuple[int, list[bytes]]]:
    """A chute's server that keeps connections, but not for ever.

    It answers so many requests of each connection. One more, or one that comes later than it keeps a
    connection, gets no answer: that is how a request looks that meets the end of a connection. Yields the
    port and the methods that were received.
    """
    received: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        latest_s = time.monotonic()
        with connection, suppress(ConnectionError):
            for number in count():
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    if not (piece := connection.recv(65536)):
                        return
                    request += piece
                received.append(request.split(b" ", 1)[0])
                if number == answered or time.monotonic() - latest_s >= kept_s:
                    return
                latest_s = time.monotonic()
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    def accept() -> None:
        with suppress(OSError), ThreadPoolExecutor() as pool:
            while True:
                pool.submit(serve, listener.accept()[0])

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], received
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def test_no_request_meets_the_end_of_a_connection_that_a_chute_keeps_for_a_second(gateway: Gateway) -> None:
    with keeping_server(1000, kept_s=1.0) as (port, received):
        publish(gateway, WebSite("keeps", "public", "127.0.0.1", port))
        until(lambda: gateway.request("GET", "/chutes/keeps/", token=False), 200)
        received.clear()
        for pause_s in (0.0, 1.0, 0.0):
            time.sleep(pause_s)
            # Nobody may send it again by themselves: it alters something.
            assert gateway.request("POST", "/chutes/keeps/", token=False).status == 200
    assert received == [b"POST"] * 3
    publish(gateway)


def test_what_a_connection_ended_on_is_asked_again_if_that_does_no_harm(gateway: Gateway) -> None:
    with keeping_server(1, kept_s=10.0) as (port, received):
        publish(gateway, WebSite("ends", "public", "127.0.0.1", port))
        until(lambda: gateway.request("GET", "/chutes/ends/", token=False), 200)
        received.clear()
        # The connection is kept, and ends on the next request.
        for method in ("GET", "HEAD", "OPTIONS"):
            assert gateway.request(method, "/chutes/ends/", token=False).status == 200
            assert received == [method.encode()] * 2
            received.clear()
        assert gateway.request("POST", "/chutes/ends/", token=False).status == 502
        assert received == [b"POST"]
    publish(gateway)
