"""What the node tells about itself, over a real socket and about the machine the test runs on."""

import asyncio
import itertools
import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from google.protobuf import json_format
from paradrop.node.v1 import audio_pb2, node_pb2

from services.node.adapters import readings, uevents
from services.node.domain.cached import Cached
from services.node.domain.hardware import Hardware, Radio, Software
from services.node.domain.inventory import Inventory
from services.node.domain.ports import ChuteFacts
from services.node.rpc import documents
from tests.node.conftest import Node
from tests.support.pending import answers, health, reflected
from tests.support.shape import SYSTEM, TELEMETRY, faults


def plain(message) -> dict:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=False, always_print_fields_with_no_presence=True
    )


def as_over_http(text: str) -> float:
    """Returns a number as Envoy writes it: a whole one has no fraction."""
    return int(float(text)) if float(text).is_integer() else float(text)


async def test_every_rpc_refuses_strangers_and_the_service_is_healthy(node: Node) -> None:
    for service in (node_pb2.DESCRIPTOR.services_by_name["NodeService"],
                    audio_pb2.DESCRIPTOR.services_by_name["AudioService"]):  # fmt: skip
        told = await answers(node.settings.addresses["node"], service, None)
        assert set(told.values()) == {("UNAUTHENTICATED", "CREDENTIALS_MISSING")}
        assert await health(node.settings.addresses["node"], service.full_name) == "SERVING"
    listed = await reflected(node.settings.addresses["node"], node.metadata[0][1].removeprefix("Bearer "))
    assert {"paradrop.node.v1.NodeService", "paradrop.node.v1.AudioService"} <= listed


async def test_hardware_and_software_are_this_machine(node: Node) -> None:
    hardware = plain(await node.call("GetHardware", node_pb2.GetHardwareRequest()))
    assert set(hardware) == {"vendor", "board", "cpu", "memory", "wifi"}
    assert hardware["memory"] == psutil.virtual_memory().total
    assert hardware["cpu"] == os.uname().machine
    software = plain(await node.call("GetSoftware", node_pb2.GetSoftwareRequest()))
    assert set(software) == {
        "biosVendor", "biosVersion", "biosDate", "osVersion", "kernelVersion", "pdVersion", "uptime",
    }  # fmt: skip
    assert software["kernelVersion"] == f"Linux-{os.uname().release}"
    assert isinstance(software["uptime"], int)


async def test_the_environment_has_no_secret(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARADROP_ADMIN_PASSWORD", "hunter2")
    monkeypatch.setenv("PLAIN", "to see")
    reply = await node.call("GetEnvironment", node_pb2.GetEnvironmentRequest())
    assert reply.environment["PARADROP_ADMIN_PASSWORD"] == "(hidden)"
    assert reply.environment["PLAIN"] == "to see"


async def test_features_are_the_documented_ones(node: Node) -> None:
    reply = await node.call("GetFeatures", node_pb2.GetFeaturesRequest())
    assert list(reply.features) == ["audio", "hostapd-control"]


async def test_telemetry_without_the_chute_service_is_unavailable(node: Node) -> None:
    assert await node.refusal("GetTelemetry", node_pb2.GetTelemetryRequest()) == (
        "UNAVAILABLE",
        "CHUTES_UNAVAILABLE",
    )


def test_telemetry_has_every_documented_key_with_its_type() -> None:
    mine = ChuteFacts("mine", "running", os.getpid(), {"lo": "wifi-ap", "gone0": "lan"})
    idle = ChuteFacts("idle", "missing")
    report = plain(documents.to_telemetry(readings.telemetry([mine, idle])))
    sent = json.loads(json.dumps(report), parse_float=as_over_http)
    assert list(faults(TELEMETRY, sent)) == []
    first, second = report["chutes"]
    assert first["process"]["memory_info"]["rss"] > 2**20
    assert [(i["name"], i["type"]) for i in first["network"]] == [("lo", "wifi-ap")]
    assert second == {"name": "idle", "state": "missing", "process": None, "network": []}
    assert "lo" not in [interface["name"] for interface in report["network"]]
    system = report["system"]
    assert len(system["cpu_times"]) == system["cpu_count"]
    assert system["disk_usage"][0]["mountpoint"] == "/"


def test_a_machine_without_disks_and_interfaces_still_has_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "disk_io_counters", lambda: None)
    monkeypatch.setattr(psutil, "net_io_counters", lambda pernic=False: {} if pernic else None)
    system = readings.telemetry([])["system"]
    assert set(system["disk_io_counters"]) == set(SYSTEM["disk_io_counters"])
    assert set(system["net_io_counters"].values()) == {0}


def test_a_process_that_is_gone_is_null() -> None:
    report = readings.telemetry([ChuteFacts("gone", "running", 2**22 + 1)])
    assert report["chutes"][0]["process"] is None


def test_the_load_is_told_by_whatever_thread_reads_it() -> None:
    load = readings.ProcessorLoad()
    for _ in range(2):
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
        with ThreadPoolExecutor(1) as threads:
            percents = threads.submit(readings.status, load).result()["cpu_load"]
        assert len(percents) == psutil.cpu_count()
        assert 0 < max(percents) <= 100


async def test_status_is_the_documented_document(node: Node) -> None:
    status = plain(await node.call("GetStatus", node_pb2.GetStatusRequest()))
    assert set(status) == {"cpu_load", "mem", "disk", "network"}
    assert len(status["cpu_load"]) == psutil.cpu_count()
    assert set(status["mem"]) == {"total", "available", "free", "cached", "buffers"}
    assert set(status["disk"]["/"]) == {"total", "used"}
    assert "lo" not in status["network"]
    for interface in status["network"].values():
        assert {"isup", "speed", "mtu", "bytes_sent", "dropout"} <= set(interface)


async def test_capabilities_tell_which_services_are_there(node: Node) -> None:
    found = await node.call("GetCapabilities", node_pb2.GetCapabilitiesRequest())
    health_of = {service.name: service.status for service in found.services}
    assert health_of["node"] == "SERVING"
    assert health_of["chutes"] == "UNREACHABLE"
    interfaces = {service.name: list(service.interfaces) for service in found.services}
    assert "paradrop.node.v1.NodeService" in interfaces["node"]
    assert not found.engine.available


async def test_watching_telemetry_needs_a_sound_interval(node: Node) -> None:
    for interval_s in (-1.0, float("inf"), float("nan")):
        call = node.stub.WatchTelemetry(
            node_pb2.WatchTelemetryRequest(interval_s=interval_s), metadata=node.metadata
        )
        with pytest.raises(Exception, match="interval_s must be"):
            await call.read()


def _counting(max_age_s: float) -> Cached[node_pb2.GetTelemetryResponse]:
    """Reports whose time is their number."""
    numbers = itertools.count(1)

    async def report() -> node_pb2.GetTelemetryResponse:
        return node_pb2.GetTelemetryResponse(time=next(numbers))

    return Cached(report, max_age_s)


async def test_a_watch_reports_at_once_and_then_in_its_interval() -> None:
    from services.node.rpc.streams import reports

    stream: AsyncIterator = reports(_counting(0.1), 0.2)
    began_s = asyncio.get_running_loop().time()
    times = [(await anext(stream)).report.time for _ in range(2)]
    assert times == [1, 2]
    # 0.2 s is below the least interval.
    assert asyncio.get_running_loop().time() - began_s > 0.9


async def test_a_watch_never_repeats_a_report_however_long_that_may_be_kept() -> None:
    from services.node.rpc.streams import reports

    telemetry = _counting(60)
    await telemetry.get()
    streams = [reports(telemetry, 1), reports(telemetry, 1)]
    told = [[(await anext(stream)).report.time for stream in streams] for _ in range(2)]
    assert told == [[1, 1], [2, 2]]
    assert (await telemetry.get()).time == 2


async def test_callers_at_the_same_time_share_one_piece_of_work() -> None:
    made = 0

    async def work() -> int:
        nonlocal made
        made += 1
        await asyncio.sleep(0.01)
        return made

    cached = Cached(work, 0.05)
    assert await asyncio.gather(*(cached.get() for _ in range(10))) == [1] * 10
    await asyncio.sleep(0.06)
    assert await cached.get() == 2


async def test_the_kernel_tells_when_a_device_changes() -> None:
    changed = asyncio.Event()
    with uevents.hearing(changed.set) as heard:
        if not heard:
            pytest.skip("this sandbox does not let the kernel's device events through")
        try:
            # The kernel makes a real event of it.
            await asyncio.to_thread(Path("/sys/class/net/lo/uevent").write_text, "change")
        except OSError:
            pytest.skip("/sys is read-only here; run as root")
        async with asyncio.timeout(5):
            await changed.wait()


async def test_a_scan_that_finds_something_new_tells_so_once() -> None:
    def hardware(radios: Sequence[Radio] = ()) -> Hardware:
        return Hardware(None, " ", "x86_64", 1, radios)

    found = [hardware([Radio("usb/1-1:1.0", "phy0", "")])]
    inventory = Inventory(lambda: found[0], hardware(), Software(None, None, None, None, None, None))
    with inventory.changes.subscribe(4) as changes:
        inventory.scan_soon()
        inventory.scan_soon()
        told = await anext(changes.batches(2))
        assert len(told) == 1
        assert inventory.hardware is found[0]
