"""People look at the spectrum in a browser: a whole node with a simulated radio, and a real Chromium."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import browsing
from tests.support.node import NodeProcess, running_node

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

KITCHEN = Path(__file__).parents[2] / "examples/airshark/kitchen.yaml"
PATIENCE_S = 30.0
LIT = """(canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, 9).data.some(Boolean))(
    document.getElementById("waterfall"))"""
"""Whether anything is drawn in the newest rows."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("spectrum")
    no_engine = f"unix://{folder}/no-engine.sock"
    with running_node(
        folder / "home", PARADROP_SPECTRUM_SCENARIO=str(KITCHEN), DOCKER_HOST=no_engine
    ) as node:
        yield node


@pytest.fixture
def page(node: NodeProcess) -> Iterator[Page]:
    with browsing(node, "/spectrum") as page:
        yield page


def until(page: Page, expression: str) -> None:
    """Waits until an expression is true; the page's own policy forbids what Playwright has for that."""
    deadline = time.monotonic() + PATIENCE_S
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


def test_the_spectrum_and_its_devices_are_shown_live(page: Page) -> None:
    expect(page.locator("#source")).to_contain_text("Simulated, not a radio", timeout=PATIENCE_S * 1000)
    until(page, LIT)
    page.locator("#waterfall").hover()
    expect(page.locator("#readout")).to_contain_text(re.compile(r"MHz: -\d+\.\d dBm"))
    camera = page.locator("#devices tbody tr", has_text="Video sender")
    expect(camera).to_contain_text("dBm", timeout=PATIENCE_S * 1000)
    expect(page.locator("#quality li")).to_have_count(13, timeout=PATIENCE_S * 1000)
    expect(page.locator("#problem")).to_be_hidden()


def test_nothing_is_read_for_a_page_that_is_paused(page: Page, node: NodeProcess) -> None:
    def readers() -> int:
        count: int = node.request("GET", "/api/v1/airshark/source").json["readerCount"]
        return count

    until(page, LIT)
    assert readers() >= 1
    page.get_by_role("button", name="Pause").click()
    deadline = time.monotonic() + PATIENCE_S
    while readers():
        assert time.monotonic() < deadline
        page.wait_for_timeout(100)
    page.get_by_role("button", name="Go on").click()
    while not readers():
        assert time.monotonic() < deadline
        page.wait_for_timeout(100)


def test_another_band_shows_what_was_measured_there(page: Page) -> None:
    until(page, LIT)
    page.locator("#band").select_option("5150-5350")
    page.wait_for_timeout(1500)
    # The simulated radio stays in the other band, and nothing is made up for this one.
    assert not page.evaluate(LIT)


def test_a_refusal_is_told_in_the_words_of_the_node(node: NodeProcess) -> None:
    with browsing(node, "/spectrum", refusals=frozenset({400})) as page:
        page.evaluate("""document.getElementById("rate").add(new Option("9999"))""")
        page.locator("#rate").select_option("9999")
        refused = node.request("GET", "/api/v1/airshark/waterfall?rowsPerS=9999")
        assert refused.status == 400
        expect(page.locator("#problem")).to_have_text(refused.json["message"], timeout=PATIENCE_S * 1000)


def test_without_a_source_nothing_is_said_of_the_air(page: Page, node: NodeProcess) -> None:
    before = node.request("GET", "/api/v1/airshark/source").json["settings"]
    node.request("PUT", "/api/v1/airshark/source", json_body={"kind": "SOURCE_KIND_NONE"})
    try:
        page.reload()
        expect(page.locator("#problem")).to_contain_text("Nothing can be shown", timeout=PATIENCE_S * 1000)
        expect(page.locator("#devices-note")).to_have_text("Nothing listens, so nothing is known.")
        page.wait_for_timeout(500)
        expect(page.locator("#devices-note")).to_have_text("Nothing listens, so nothing is known.")
    finally:
        node.request("PUT", "/api/v1/airshark/source", json_body=before)
