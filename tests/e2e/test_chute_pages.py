"""The pages of a chute through the gateway of a whole node: HTTP, streams, WebSockets, what stays outside."""

import http.client
import re
import shutil
import time
import uuid
from base64 import b64encode
from collections.abc import Iterator

import docker
import psutil
import pytest
from playwright.sync_api import expect, sync_playwright
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from services.common.settings import WEB_DOMAIN
from tests.support.node import PASSWORD, Answer, NodeProcess, running_node
from tests.support.webchute import web_chute

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

DEADLINE_S = 10


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, engine: docker.DockerClient) -> Iterator[NodeProcess]:
    with running_node(tmp_path_factory.mktemp("pages") / "home") as node:
        yield node


@pytest.fixture(scope="module")
def chute(node: NodeProcess) -> str:
    return install(node, "pages")


def install(node: NodeProcess, prefix: str, **options: str) -> str:
    name = f"{prefix}-{uuid.uuid4().hex[:6]}"
    change = node.ended(node.upload(web_chute(name, **options)).json["change_id"])
    assert change["status"] == "succeeded", change
    answers(node, f"/chutes/{name}/", 401 if options.get("access") == "users" else 200)
    return name


def anonymous(node: NodeProcess, method: str, path: str, **headers: str) -> Answer:
    """Asks without a token, and follows no redirect."""
    connection = http.client.HTTPConnection(node.target, timeout=30)
    try:
        connection.request(
            method, path, None, {name.replace("_", "-"): text for name, text in headers.items()}
        )
        reply = connection.getresponse()
        return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
    finally:
        connection.close()


def answers(node: NodeProcess, path: str, status: int, **headers: str) -> Answer:
    """Waits until a path answers with a status."""
    deadline = time.monotonic() + DEADLINE_S
    while (answer := anonymous(node, "GET", path, **headers)).status != status:
        assert time.monotonic() < deadline, answer
        time.sleep(0.02)
    return answer


def test_a_page_is_served_without_a_login(node: NodeProcess, chute: str) -> None:
    page = anonymous(node, "GET", f"/chutes/{chute}/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html")
    assert b"Hello from a chute" in page.body
    own = f"http://{node.target}/chutes/{chute}/"
    assert f"connect-src {own} ws" in page.headers["content-security-policy"]
    below = anonymous(node, "GET", f"/chutes/{chute}/no/such%20page?x=1")
    assert (below.status, below.body) == (404, b"nothing at /no/such%20page?x=1\n")
    slash = anonymous(node, "GET", f"/chutes/{chute}?a=b")
    assert slash.status == 301
    assert slash.headers["location"].endswith(f"{node.target}/chutes/{chute}/?a=b")


def test_a_chute_has_a_host_name_of_its_own(node: NodeProcess, chute: str) -> None:
    for port in ("", f":{node.port}"):
        page = anonymous(node, "GET", "/", host=f"{chute.upper()}.{WEB_DOMAIN}{port}")
        assert b"Hello from a chute" in page.body
        # An origin of its own needs no policy of ours, and its paths are its own.
        assert "content-security-policy" not in page.headers
    request = anonymous(node, "GET", "/request/api/v1/chutes", host=f"{chute}.{WEB_DOMAIN}").body.decode()
    assert request.startswith("GET /request/api/v1/chutes\n")
    assert "x-forwarded-prefix" not in request
    assert anonymous(node, "GET", "/api/v1/chutes", host=f"{chute}.{WEB_DOMAIN}").body.startswith(
        b"nothing at"
    )
    assert anonymous(node, "GET", "/", host=f"nobody.{WEB_DOMAIN}").status == 404
    # No other host is taken for a chute's.
    assert anonymous(node, "GET", "/", host=f"{chute}.{WEB_DOMAIN}.example").status == 401


def test_a_chute_sees_where_a_request_came_from_and_no_credentials_of_the_node(
    node: NodeProcess, chute: str
) -> None:
    password = b64encode(f"paradrop:{PASSWORD}".encode()).decode()
    for authorization in (f"Bearer {node.token}", f"Basic {password}"):
        for host, path in (
            (node.target, f"/chutes/{chute}/request?q=1"),
            (f"{chute}.{WEB_DOMAIN}", "/request?q=1"),
        ):
            request = anonymous(
                node,
                "GET",
                path,
                host=host,
                authorization=authorization,
                proxy_authorization=authorization,
                cookie="mine=1; Paradrop_Session=secret; paradrop=x; theirs=2",
                x_forwarded_for="192.0.2.7",
                x_forwarded_prefix="/elsewhere",
                x_forwarded_host="evil.example",
                x_paradrop_user="admin",
            ).body.decode()
            lines = {
                key.lower(): text for key, _, text in (line.partition(": ") for line in request.splitlines())
            }
            assert request.startswith("GET /request?q=1\n")
            assert not {"authorization", "proxy-authorization", "x-paradrop-user"} & set(lines)
            assert node.token not in request
            assert password not in request
            assert lines["cookie"] == "mine=1; theirs=2"
            assert lines["host"] == lines["x-forwarded-host"] == host
            assert lines["x-forwarded-proto"] == "http"
            # Envoy names an address of the machine for a peer on the same one.
            assert re.fullmatch(r"192\.0\.2\.7, ?[\d.]+", lines["x-forwarded-for"])
            if host == node.target:
                assert lines["x-forwarded-prefix"] == f"/chutes/{chute}"


def test_what_a_chute_says_of_its_own_root_is_moved_below_its_path(node: NodeProcess, chute: str) -> None:
    connection = http.client.HTTPConnection(node.target)
    connection.request("GET", f"/chutes/{chute}/login")
    reply = connection.getresponse()
    assert reply.status == 302
    assert reply.headers["location"] == f"/chutes/{chute}/data"
    assert reply.headers.get_all("set-cookie") == [
        f"a=1; HttpOnly; Path=/chutes/{chute}/",
        f"b=2; Path=/chutes/{chute}/",
    ]
    connection.close()
    own = anonymous(node, "GET", "/login", host=f"{chute}.{WEB_DOMAIN}")
    assert own.headers["location"] == "/data"


def test_bodies_flow_both_ways(node: NodeProcess, chute: str) -> None:
    size = 3_000_000
    answer = node.request("POST", f"/chutes/{chute}/upload", bytes(size))
    assert answer.body == f"{size}\n".encode()
    connection = http.client.HTTPConnection(node.target, timeout=20)
    connection.request("GET", f"/chutes/{chute}/stream")
    reply = connection.getresponse()
    begin = time.monotonic()
    arrivals = [(reply.read(6), time.monotonic() - begin) for _ in range(3)]
    assert [piece for piece, _ in arrivals] == [b"part 1", b"part 2", b"part 3"]
    assert arrivals[2][1] - arrivals[0][1] > 0.6  # Each as it came, not all at the end.
    assert reply.read() == b""
    connection.close()


@pytest.mark.parametrize("by_host", [False, True])
def test_websockets_reach_the_chute(node: NodeProcess, chute: str, by_host: bool) -> None:
    path = "/ws" if by_host else f"/chutes/{chute}/ws"
    host = f"{chute}.{WEB_DOMAIN}" if by_host else node.target
    with connect(f"ws://{host}{path}", address=("127.0.0.1", node.port), proxy=None) as socket:
        assert socket.recv(10) == "hello"
        for text in ("ping", "pong again"):
            socket.send(text)
            assert socket.recv(10) == text
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{node.target}/chutes/{chute}/data", proxy=None).__enter__()
    assert refused.value.response.status_code == 200  # The chute's own answer.


def test_pages_of_users_open_for_people_and_not_for_chutes(
    node: NodeProcess, chute: str, engine: docker.DockerClient
) -> None:
    private = install(node, "private", access="users")
    path = f"/chutes/{private}/"
    asked = anonymous(node, "GET", path)
    assert asked.status == 401
    assert asked.headers["www-authenticate"].startswith("Basic ")
    assert b"Hello" not in asked.body
    assert anonymous(node, "GET", "/", host=f"{private}.{WEB_DOMAIN}").status == 401
    assert node.request("GET", path).status == 200
    password = b64encode(f"paradrop:{PASSWORD}".encode()).decode()
    assert anonymous(node, "GET", path, authorization=f"Basic {password}").status == 200
    assert b"authorization" not in node.request("GET", f"{path}request").body.lower()
    for container in (f"{chute}-main", f"{private}-main"):
        variables = dict(
            text.split("=", 1) for text in engine.containers.get(container).attrs["Config"]["Env"]
        )
        refused = node.request("GET", path, token=variables["PARADROP_API_TOKEN"])
        assert (refused.status, refused.reason) == (403, "CHUTE_TOKEN_NOT_ENOUGH")
    node.request(
        "POST", "/api/v1/users", json_body={"username": "gast", "password": PASSWORD, "role": "ROLE_GUEST"}
    )
    guest = b64encode(f"gast:{PASSWORD}".encode()).decode()
    assert anonymous(node, "GET", path, authorization=f"Basic {guest}").reason == "ROLE_TOO_LOW"


def test_a_person_sees_the_page_and_its_script_cannot_use_what_the_browser_knows_of_the_node(
    node: NodeProcess, chute: str
) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("this test needs a browser: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        # The browser has logged in to the node before, as somebody does who looks at the node's own pages.
        credentials = {"username": "paradrop", "password": PASSWORD}
        page = browser.new_context(http_credentials=credentials).new_page()  # type: ignore[arg-type]
        page.goto(f"http://{node.target}/")
        page.goto(f"http://{node.target}/chutes/{chute}")
        assert page.locator("h1").inner_text() == "Hello from a chute"
        expect(page.locator("#answer")).to_have_text("answer 42")
        expect(page).to_have_title("kept out")
        missing = page.goto(f"http://{node.target}/chutes/nobody/")
        assert missing is not None
        assert missing.status == 404
        assert "no chute" in page.locator("p").inner_text()
        browser.close()


def test_routes_come_and_go_with_the_chute_while_envoy_runs_on(node: NodeProcess) -> None:
    def envoys() -> set[int]:
        return {child.pid for child in psutil_children(node) if "envoy" in child.name()}

    before = envoys()
    assert before
    assert anonymous(node, "GET", "/chutes/nobody/").status == 404
    name = install(node, "come")
    stopped = node.request("POST", f"/api/v1/chutes/{name}/stop").json["change_id"]
    assert node.ended(stopped)["status"] == "succeeded"
    page = answers(node, f"/chutes/{name}/", 502)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert f"The chute {name} is not running." in page.body.decode()
    assert "<h1>Bad gateway</h1>" in page.body.decode()
    node.ended(node.request("POST", f"/api/v1/chutes/{name}/start").json["change_id"])
    answers(node, f"/chutes/{name}/", 200)
    node.ended(node.request("DELETE", f"/api/v1/chutes/{name}").json["change_id"])
    gone = answers(node, f"/chutes/{name}/", 404)
    assert "no chute with pages of that name" in gone.body.decode()
    assert answers(node, "/", 404, host=f"{name}.{WEB_DOMAIN}")
    assert envoys() == before


def psutil_children(node: NodeProcess) -> list["psutil.Process"]:
    assert node.process is not None
    return psutil.Process(node.process.pid).children(recursive=True)


def test_a_service_that_does_not_answer_is_a_readable_page(node: NodeProcess) -> None:
    name = f"deaf-{uuid.uuid4().hex[:6]}"
    change = node.ended(node.upload(web_chute(name, command="exec sleep 1000000")).json["change_id"])
    assert change["status"] == "succeeded", change
    page = answers(node, f"/chutes/{name}/", 502)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "does not answer" in page.body.decode()
    assert "upstream" not in page.body.decode()


def test_pages_survive_a_restart_of_the_node(node: NodeProcess, chute: str) -> None:
    node.stop()
    node.start()
    node.login()
    answers(node, f"/chutes/{chute}/", 200)
