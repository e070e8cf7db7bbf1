"""What the documents tell people to type works as it stands there."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
import yaml

from services.chutes.domain.chutefile import parse_chute_file
from tests.support.engine import chute_tar
from tests.support.node import PASSWORD, NodeProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r'^```(\w*)(?: not-run="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
DEFAULT_TARGET = "127.0.0.1:8080"
RUN = ("sh", "python")
PRELUDE = """
curl() { command curl --silent --show-error --fail-with-body --max-time 60 "$@"; echo; }
"""


@dataclass
class Snippet:
    """A fenced block."""

    language: str
    reason: str
    """Why it is not run; empty if it is."""
    text: str


def snippets(document: Path) -> list[Snippet]:
    return [Snippet(*found) for found in FENCE.findall(document.read_text())]


def runnable(document: Path) -> list[Snippet]:
    return [snippet for snippet in snippets(document) if snippet.language in RUN and not snippet.reason]


@pytest.fixture
def node(tmp_path: Path, engine: docker.DockerClient) -> Iterator[NodeProcess]:
    """A node with the chute of the README, as readers have it by now."""
    _remove(engine)
    node = NodeProcess(tmp_path / "home")
    node.start()
    try:
        node.login()
        files = {"paradrop.yaml": "name: hello\nservices:\n  main:\n    type: normal\n"}
        files["Dockerfile"] = 'FROM busybox:stable\nCMD ["sh", "-c", "trap exit TERM; sleep 100000 & wait"]\n'
        change = node.upload(chute_tar(files))
        ended = node.ended(change.json["change_id"])
        assert ended["status"] == "succeeded", str(ended)
        yield node
    finally:
        node.stop()
        _remove(engine)


def _remove(engine: docker.DockerClient) -> None:
    for container in engine.containers.list(all=True, filters={"name": "^/?hello(-two)?-main$"}):
        container.remove(force=True)
    for network in engine.networks.list(filters={"name": "^hello(-two)?$"}):
        network.remove()


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if runnable(d)], ids=lambda document: document.stem
)
def test_what_is_to_be_typed_works(document: Path, node: NodeProcess, tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    (folder / "examples").symlink_to(ROOT / "examples")
    shutil.copytree(ROOT / "examples" / "hello", folder / "hello")
    bin_folder = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "PARADROP_HOME": str(node.home),
        "PYTHONPATH": str(ROOT / "build" / "gen"),
        "NODE": f"http://{node.target}/api/v1",
        "OTHER": f"http://{node.target}/api/v1",
        "TOKEN": node.token,
        "PASSWORD": PASSWORD,
        "TMPDIR": str(tmp_path),
    }
    for language in RUN:
        text = "\n".join(snippet.text for snippet in runnable(document) if snippet.language == language)
        text = text.replace(DEFAULT_TARGET, node.target).replace("/tmp/", f"{tmp_path}/")
        if language == "sh":
            command = ["bash", "-euo", "pipefail", "-c", PRELUDE + text]
        else:
            command = [sys.executable, "-c", f"PASSWORD = {PASSWORD!r}\n{text}"]
        ran = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
        )
        assert ran.returncode == 0, f"{text}\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_the_rest_is_well_formed(document: Path) -> None:
    text = document.read_text()
    assert text.count("```") == 2 * len(snippets(document)), "a fence with an unknown form"
    for snippet in snippets(document):
        if snippet.language == "json":
            json.loads(snippet.text)
        elif snippet.language == "yaml":
            content = yaml.safe_load(snippet.text)
            if "name" in content:
                assert parse_chute_file(snippet.text.encode()).spec.name == content["name"]
        else:
            assert snippet.language in ("", "dockerfile", *RUN), snippet.language


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_links_lead_somewhere(document: Path) -> None:
    for target, anchor in LINK.findall(document.read_text()):
        if "://" in target:
            continue
        file = (document.parent / target).resolve() if target else document
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor.removeprefix("#") in _anchors(file), f"{target}{anchor}"


def test_a_reason_names_tests_that_exist() -> None:
    for document in DOCUMENTS:
        for snippet in snippets(document):
            for path in re.findall(r"tests/[\w/.]+", snippet.reason):
                assert (ROOT / path.rstrip(".")).exists(), f"{document.name}: {path}"


def _anchors(document: Path) -> set[str]:
    text = FENCE.sub("", document.read_text())
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        for heading in headings
    }
