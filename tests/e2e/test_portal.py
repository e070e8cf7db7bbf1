"""People run a node from a browser: a whole node with a real engine, and a real Chromium."""

import contextlib
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from playwright.sync_api import Dialog, Locator, Page, expect

from tests.support.browser import browsing
from tests.support.engine import BUSYBOX
from tests.support.node import NodeProcess, running_node

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PATIENCE_MS = 30_000
CHANGE_MS = 90_000
TRIES = 5
NEWS_MS = 3000
SCRIPT = "#!/bin/sh\ntrap exit TERM\necho 'the script speaks <b>'\nsleep 1000000 & wait\n"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, engine: docker.DockerClient) -> Iterator[NodeProcess]:
    with running_node(tmp_path_factory.mktemp("portal") / "home") as node:
        yield node


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chute as its author has it on disk."""
    folder = tmp_path_factory.mktemp("author") / "chute"
    deep = folder / "/".join(["a-folder-with-a-long-name"] * 5)
    deep.mkdir(parents=True)
    (deep / "script.sh").write_text(SCRIPT)
    (folder / ".git").mkdir()
    (folder / ".git/config").write_text("not for the node")
    (folder / "paradrop.yaml").write_text(
        f"name: portal-{uuid.uuid4().hex[:6]}\ndescription: Speaks & waits.\n"
        "services:\n  main:\n    type: normal\n    source: .\n"
    )
    where = deep.relative_to(folder)
    (folder / "Dockerfile").write_text(
        f'FROM {BUSYBOX}\nCOPY . /chute\nRUN test ! -e /chute/.git\nCMD ["/chute/{where}/script.sh"]\n'
    )
    return folder


def name_of(folder: Path) -> str:
    return (folder / "paradrop.yaml").read_text().splitlines()[0].removeprefix("name: ")


def press(page: Page, name: str, place: Locator, result: str) -> None:
    """Presses a button until that shows a result.

    Chromium gives up what is under way, and the button says so, whenever an interface of its machine comes or
    goes, as those of containers do.
    """
    for _ in range(TRIES):
        page.get_by_role("button", name=name, exact=True).click()
        with contextlib.suppress(AssertionError):
            return expect(place).to_contain_text(result, timeout=CHANGE_MS / TRIES)
    raise AssertionError(f"{name} does not lead to {result}")


def accept(dialog: Dialog) -> None:
    dialog.accept()


def test_the_overview_says_what_runs_here(node: NodeProcess) -> None:
    with browsing(node, "/") as page:
        cards = page.locator(".cards li")
        expect(cards).to_have_count(5)
        expect(cards.filter(has_text="SERVING")).to_have_count(5, timeout=PATIENCE_MS)
        version = node.request("GET", "/api/v1/info/software").json["pdVersion"]
        expect(page.get_by_text(version, exact=True)).to_be_visible()
        expect(page.get_by_text(re.compile(r"^\s*[\d.]+ GB of [\d.]+ GB"))).not_to_have_count(0)
        expect(page.get_by_text("Processor 1")).to_be_visible(timeout=PATIENCE_MS)
        issues = node.request("GET", "/api/v1/info/issues").json
        for issue in issues:
            expect(page.locator(".issues")).to_contain_text(issue["message"])


def test_a_chute_is_installed_from_its_folder_used_and_removed(node: NodeProcess, folder: Path) -> None:
    name = name_of(folder)
    # What is pressed again may have happened before, and then does not go with the state of the chute.
    with browsing(node, "/#/chutes", frozenset({409}), removed=name) as page:
        page.get_by_label("Folder").set_input_files(folder)
        expect(page.locator(".change")).to_contain_text("succeeded", timeout=CHANGE_MS)
        expect(page.locator(".change pre")).to_contain_text("Calling build_image main")
        page.get_by_role("link", name=name).click()

        expect(page.locator("h1")).to_have_text(name)
        expect(page.locator("dl")).to_contain_text("Speaks & waits.")
        # As it was written, and as text: nothing of a chute becomes part of the page.
        expect(page.locator(".log")).to_contain_text("main: the script speaks <b>", timeout=PATIENCE_MS)
        expect(page.get_by_role("row", name="all")).to_contain_text("%", timeout=PATIENCE_MS)

        press(page, "Stop", page.locator("dl"), "stopped")
        press(page, "Start", page.locator("dl"), "running")

        # Chromium hears of the container's interface a moment later, and a removal is not asked for twice.
        page.wait_for_timeout(NEWS_MS)
        page.once("dialog", lambda dialog: dialog.dismiss())
        page.get_by_role("button", name="Remove").click()
        page.on("dialog", accept)
        press(page, "Remove", page.locator("h1"), "Chutes")
        expect(page.get_by_text("No chute is installed.")).to_be_visible()

        page.get_by_role("link", name="Changes").click()
        expect(page.get_by_role("row", name=re.compile("delete"))).to_contain_text("succeeded")
        page.get_by_role("row", name=re.compile("create")).get_by_role("button", name="Show").click()
        expect(page.locator(".change pre")).to_contain_text("Calling build_image main")


def test_what_is_no_chute_is_refused_with_the_reason(node: NodeProcess, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/readme.txt").write_text("no chute")
    with browsing(node, "/#/chutes", frozenset({400})) as page:
        page.get_by_label("Folder").set_input_files(tmp_path / "x")
        expect(page.get_by_role("alert")).to_contain_text("paradrop.yaml")
    assert node.request("GET", "/api/v1/chutes/").json == []


def test_a_chute_that_is_gone_says_so(node: NodeProcess) -> None:
    with browsing(node, "/#/chutes/gone", frozenset({404})) as page:
        expect(page.get_by_role("alert")).to_contain_text("No chute found with name: gone")


def test_the_host_configuration_is_checked_applied_and_kept(node: NodeProcess) -> None:
    with browsing(node, "/#/settings", frozenset({400})) as page:
        text = page.get_by_label("Host configuration as JSON")
        expect(text).to_have_value(re.compile('"telemetry"'), timeout=PATIENCE_MS)
        good = text.input_value()
        text.fill("{")
        page.get_by_role("button", name="Check").click()
        expect(page.get_by_role("alert").filter(has_text="no JSON")).to_be_visible()
        text.fill(good.replace('"interval": 60', '"interval": "often"'))
        page.get_by_role("button", name="Check").click()
        expect(page.get_by_role("alert").filter(has_text="telemetry.interval")).to_be_visible()

        text.fill(good.replace('"interval": 60', '"interval": 77'))
        page.get_by_role("button", name="Check").click()
        expect(page.locator("ol li")).not_to_have_count(0)
        page.get_by_role("button", name="Apply").click()
        page.get_by_role("button", name="Keep it").click(timeout=PATIENCE_MS)
        expect(page.locator(".change")).to_contain_text("succeeded", timeout=CHANGE_MS)
    assert node.request("GET", "/api/v1/config/hostconfig").json["telemetry"]["interval"] == 77
    status = node.request("GET", "/api/v1/config/hostconfig/status").json
    assert status["state"] == "STATE_CONFIRMED"


def test_the_log_and_the_networks_are_shown(node: NodeProcess) -> None:
    # A kernel without wireless answers for its radios with a reason.
    with browsing(node, "/#/log", frozenset({409})) as page:
        expect(page.locator(".log")).to_contain_text("the engine answers", timeout=PATIENCE_MS)
        page.get_by_label("Least level").select_option("error")
        expect(page.locator(".log")).not_to_contain_text("the engine answers")
        page.get_by_role("link", name="Networks").click()
        expect(page.get_by_text("No running chute has a network of its own.")).to_be_visible(
            timeout=PATIENCE_MS
        )


def test_a_user_is_added_and_removed(node: NodeProcess) -> None:
    with browsing(node, "/#/settings", frozenset({400})) as page:
        page.get_by_label("New user").fill("alice")
        page.get_by_label("Their password").fill("short")
        page.get_by_label("Role").select_option("trusted")
        page.get_by_role("button", name="Add user").click()
        expect(page.get_by_role("alert").filter(has_text="8")).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_label("Their password").fill("a password of alice")
        page.get_by_role("button", name="Add user").click()
        row = page.get_by_role("row", name="alice")
        expect(row).to_contain_text("trusted", timeout=PATIENCE_MS)
        page.on("dialog", accept)
        row.get_by_role("button", name="Remove").click()
        expect(row).to_have_count(0, timeout=PATIENCE_MS)
    assert [user["username"] for user in node.request("GET", "/api/v1/users").json["users"]] == ["paradrop"]


def test_a_password_is_changed_in_the_browser(tmp_path: Path) -> None:
    no_engine = f"unix://{tmp_path}/no-engine.sock"
    with running_node(tmp_path / "home", PARADROP_DOCKER_URL=no_engine) as node:
        with browsing(node, "/#/settings", frozenset({400})) as page:
            change = page.get_by_role("button", name="Change", exact=True)
            page.get_by_label("New password").fill("another password")
            page.get_by_label("Again").fill("a different one")
            change.click()
            expect(page.get_by_role("alert").filter(has_text="differ")).to_be_visible()
            page.get_by_label("Again").fill("another password")
            change.click()
            expect(page.get_by_text("Changed.")).to_be_visible(timeout=PATIENCE_MS)
        node.login("another password")
