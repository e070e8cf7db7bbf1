"""What a machine tells about itself when something is the matter with it, and what is done about that."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import psutil
import pytest
import trustme
from paradrop.chutes.v1 import processes_pb2
from paradrop.network.v1 import network_pb2
from paradrop.node.v1 import node_pb2, node_pb2_grpc

from services.common.errors import FailedPrecondition
from services.node import app
from services.node.adapters.facts import FactFinder, machine_facts
from services.node.domain.diagnosis import diagnose
from services.node.domain.diagnosis.facts import Facts
from tests.gateway.doubles import Doubles, Keys
from tests.support.settings import settings_in
from tests.support.small_disk import MEBIBYTE, fill, small_disk


def found(home: Path, **environment: str) -> set[str]:
    with settings_in(home, **environment) as settings:
        settings.prepare()
        return {issue.id for issue in diagnose(machine_facts(settings))}


def test_a_disk_that_is_full_and_then_read_only_is_told(tmp_path: Path) -> None:
    with small_disk(tmp_path, 16 * MEBIBYTE) as disk:
        home = disk / "home"
        assert not {"disk-nearly-full", "disk-read-only"} & found(home)
        fill(disk)
        assert "disk-nearly-full" in found(home)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert "disk-read-only" in found(home)


def test_little_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert psutil.virtual_memory().percent < 80, "this machine itself is short of memory"
    assert "memory-pressure" not in found(tmp_path / "home")
    # A kernel with 8 of 1000 MiB left.
    told = {"MemTotal": 1024000, "MemFree": 4096, "MemAvailable": 8192}
    others = ("Buffers", "Cached", "SReclaimable", "Shmem", "Active", "Inactive", "Slab")
    lines = [f"{name}: {told.get(name, 1024)} kB\n" for name in (*told, *others)]
    (tmp_path / "meminfo").write_text("".join(lines))
    (tmp_path / "stat").write_text(Path("/proc/stat").read_text())
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert "memory-pressure" in found(tmp_path / "home")


@pytest.mark.parametrize(
    ("days", "issues"), [(90, set()), (5, {"certificate-expiring"}), (-1, {"certificate-expiring"})]
)
def test_the_end_of_a_certificate_is_told(tmp_path: Path, days: int, issues: set[str]) -> None:
    now = datetime.now(UTC)
    made = trustme.CA().issue_cert(
        "localhost", not_before=now - timedelta(days=30), not_after=now + timedelta(days=days)
    )
    pem, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    made.cert_chain_pems[0].write_to_path(str(pem))
    private.touch(0o600)
    told = found(tmp_path / "home", PARADROP_TLS_CERT=str(pem), PARADROP_TLS_KEY=str(private))
    assert {issue for issue in told if issue.startswith("certificate")} == issues


async def nothing(machine: Facts) -> Facts:
    return machine


@pytest.mark.parametrize("issue", ["clock-wrong", "clock-not-synchronised"])
async def test_the_clock_is_given_to_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, issue: str
) -> None:
    # Machines with tests rarely have systemd: its tool is one that notes what it is asked.
    tool = tmp_path / "timedatectl"
    tool.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nexit $(cat {tmp_path}/status)\n')
    tool.chmod(0o755)
    (tmp_path / "status").write_text("0")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with settings_in(tmp_path / "home") as settings:
        finder = FactFinder(settings, nothing)
        assert "systemd" in await finder.fix(issue)
        assert (tmp_path / "asked").read_text() == "set-ntp true\n"
        (tmp_path / "status").write_text("1")
        with pytest.raises(FailedPrecondition, match="time client") as failed:
            await finder.fix(issue)
    assert failed.value.reason == "ISSUE_FIX_FAILED"


async def test_what_the_neighbours_know_is_told(tmp_path: Path) -> None:
    with settings_in(tmp_path / "home") as settings:
        settings.prepare()
        doubles = Doubles(Keys(settings.public_dir))
        settings.service_token_file.write_text(doubles.keys.token("node", kind="service"))
        config = network_pb2.GetHostConfigResponse()
        config.config.update({"wifi": [{"id": "pci-wifi-9"}]})
        doubles.replies["paradrop.network.v1.NetworkService.GetHostConfig"] = config
        doubles.replies["paradrop.chutes.v1.ChuteProcessService.GetChuteProcesses"] = (
            processes_pb2.GetChuteProcessesResponse(engine_available=False)
        )
        async with (
            doubles.serving_one("chutes", settings),
            doubles.serving_one("network", settings),
            app.running(settings),
            grpc.aio.insecure_channel(settings.addresses["node"]) as channel,
        ):
            listed = await node_pb2_grpc.NodeServiceStub(channel).ListIssues(
                node_pb2.ListIssuesRequest(),
                metadata=(("authorization", f"Bearer {doubles.keys.token()}"),),
                timeout=20,
            )
    issues = {issue.id: issue for issue in listed.issues}
    assert "pci-wifi-9" in issues["radio-missing"].message
    assert "engine" in issues["engine-down"].message
    assert "airshark (UNREACHABLE)" in issues["service-down"].message
    assert all(issue.suggestion for issue in issues.values())
