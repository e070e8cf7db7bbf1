"""A real Chromium that looks at the pages of a node."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, Response, sync_playwright

from tests.support.node import PASSWORD, NodeProcess


@contextmanager
def browsing(
    node: NodeProcess, path: str, refusals: frozenset[int] = frozenset(), removed: str = ""
) -> Iterator[Page]:
    """Opens a page, and at the end fails if a script of it has failed.

    `refusals` are the statuses besides 401 that answers to the page may have: a browser learns from that one
    that a password is wanted. Of the chute that is `removed` meanwhile the page may ask once more.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("this test needs a browser: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(http_credentials={"username": "paradrop", "password": PASSWORD}).new_page()
        wrong: list[str] = []
        refused: list[Response] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("response", lambda answer: refused.append(answer) if answer.status >= 400 else None)
        page.goto(f"http://{node.target}{path}")
        yield page
        browser.close()
        assert not wrong
        gone = f"/chutes/{removed}"
        counted = {
            each.status for each in refused if not (removed and each.status == 404 and gone in each.url)
        }
        assert counted <= {401, *refusals}
