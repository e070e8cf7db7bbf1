"""The whole journey of pdtools with a chute: from a login to its removal."""

import re
import shutil
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.support.node import free_port
from tests.support.pdtools import ROOT, Pdtools

CHUTE = "pdtools-hello"
NEW_PASSWORD = "another password: with a colon"


def hello_chute(folder: Path) -> int:
    """Writes the chute of the README under another name into a folder; returns the port of its page."""
    shutil.copytree(ROOT / "examples" / "hello", folder)
    port = free_port()
    description = yaml.safe_load((folder / "paradrop.yaml").read_text())
    description["name"] = CHUTE
    description["services"]["main"]["requests"]["port-bindings"] = {"8000/tcp": port}
    (folder / "paradrop.yaml").write_text(yaml.safe_dump(description))
    return port


def fetch(port: int) -> str:
    """Returns the page of the chute as soon as there is one."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
                return response.read().decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def travel(pdtools: Pdtools, folder: Path, port: int, password: str) -> None:
    """Installs, uses and removes the chute in a folder. Afterwards the password is NEW_PASSWORD."""
    credentials = {"Username: ": "paradrop", "Password: ": password}

    assert "Login successful." in pdtools.run("node", "login", answers=credentials)
    assert pdtools.run("node", "list-chutes").strip() == ""

    installed = pdtools.run("node", "install-chute", "-d", str(folder))
    assert re.search(rf"Completed create operation on chute {CHUTE}: success", installed), installed
    assert "hello" in fetch(port).lower()

    (listed,) = yaml.safe_load(pdtools.run("node", "list-chutes"))
    assert (listed["name"], listed["state"]) == (CHUTE, "running")
    described = yaml.safe_load(pdtools.run("node", "describe-chute", CHUTE))
    assert described["services"]["main"]["state"] == "running"
    assert described["version"] == 1
    assert "networkInterfaces" in yaml.safe_load(pdtools.run("node", "describe-chute-cache", CHUTE))
    configuration = yaml.safe_load(pdtools.run("node", "describe-chute-configuration", CHUTE))
    assert configuration["web"] == {"port": 8000, "service": "main"}

    log = pdtools.follow("node", "watch-chute-logs", CHUTE, until="response:200")
    assert "[main]" in log

    assert "success" in pdtools.run("node", "restart-chute", CHUTE)
    assert "hello" in fetch(port).lower()
    assert "success" in pdtools.run("node", "stop-chute", CHUTE)
    assert yaml.safe_load(pdtools.run("node", "describe-chute", CHUTE))["state"] == "stopped"
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
    assert "success" in pdtools.run("node", "start-chute", CHUTE)
    assert "hello" in fetch(port).lower()

    new = {"Username: ": "paradrop", "New password: ": NEW_PASSWORD, "Confirm password: ": NEW_PASSWORD}
    assert "success: true" in pdtools.run("node", "set-password", answers=new)
    time.sleep(5)  # The promise: tokens from before the change end within five seconds.
    again = {"Username: ": "paradrop", "Password: ": NEW_PASSWORD}
    assert CHUTE in pdtools.run("node", "list-chutes", answers=again)

    removed = pdtools.run("node", "remove-chute", CHUTE)
    assert f"Completed delete operation on chute {CHUTE}: success" in removed, removed
    assert pdtools.run("node", "list-chutes").strip() == ""
    assert pdtools.run("node", "list-changes").strip() == ""
