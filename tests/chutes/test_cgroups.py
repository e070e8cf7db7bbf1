"""The kernel's accounts of a container, in the forms that kernels write them."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from services.chutes.adapters.cgroups import Cgroups
from services.chutes.adapters.docker_usage import to_measurement

ID = "5f" * 32
NET_DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 9999 1 0 0 0 0 0 0 9999 1 0 0 0 0 0 0
  eth0: 1000 10 0 0 0 0 0 0 200 2 0 0 0 0 0 0
  eth1:30 1 0 0 0 0 0 0 4 1 0 0 0 0 0 0
"""  # noqa: E501
VERSION_1 = {
    "cpuacct/SCOPE/cpuacct.usage": "123456789\n",
    "memory/SCOPE/memory.usage_in_bytes": "5000\n",
    "memory/SCOPE/memory.stat": "cache 2000\ntotal_inactive_file 1500\n",
    "memory/SCOPE/memory.limit_in_bytes": "9223372036854771712\n",
    "memory/SCOPE/cgroup.procs": "42\n43\n",
    "blkio/SCOPE/blkio.throttle.io_service_bytes_recursive": (
        "8:0 Read 100\n8:0 Write 20\n8:0 Sync 120\n8:0 Total 120\n8:16 Read 1\n8:16 Write 2\nTotal 123\n"
    ),
    "pids/SCOPE/pids.current": "3\n",
}
VERSION_2 = {
    "cgroup.controllers": "cpu io memory pids\n",
    "SCOPE/cpu.stat": "usage_usec 123456\nuser_usec 100000\nsystem_usec 23456\n",
    "SCOPE/memory.current": "5000\n",
    "SCOPE/memory.stat": "anon 3000\nfile 2000\ninactive_file 1500\n",
    "SCOPE/memory.max": "8388608\n",
    "SCOPE/cgroup.procs": "42\n43\n",
    "SCOPE/io.stat": "8:0 rbytes=100 wbytes=20 rios=1 wios=1 dios=0\n8:16 rbytes=1 wbytes=2\n",
    "SCOPE/pids.current": "3\n",
}


def cgroups(folder: Path, files: Mapping[str, str], scope: str) -> Cgroups:
    (folder / "proc/42/net").mkdir(parents=True)
    (folder / "proc/42/net/dev").write_text(NET_DEV)
    for name, text in files.items():
        path = folder / "cgroup" / name.replace("SCOPE", scope.format(ID))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Cgroups(folder / "cgroup", folder / "proc")


@pytest.mark.parametrize("scope", ["docker/{}", "system.slice/docker-{}.scope"])
@pytest.mark.parametrize(
    ("files", "cpu_ns", "limit"), [(VERSION_1, 123456789, None), (VERSION_2, 123456000, 2**23)]
)
def test_both_versions_and_drivers_are_read(
    tmp_path: Path, files: dict[str, str], cpu_ns: int, limit: int | None, scope: str
) -> None:
    found = cgroups(tmp_path, files, scope).measure(ID)
    assert found is not None
    assert (found.cpu_ns, found.memory_bytes, found.memory_limit_bytes, found.pid_count) == (
        cpu_ns,
        3500,
        limit,
        3,
    )
    assert (found.received_bytes, found.sent_bytes) == (1030, 204)
    assert (found.read_bytes, found.written_bytes) == (101, 22)


@pytest.mark.parametrize("files", [VERSION_1, VERSION_2])
def test_what_cannot_be_seen_or_read_is_no_measurement(tmp_path: Path, files: dict[str, str]) -> None:
    groups = cgroups(tmp_path, files, "docker/{}")
    assert groups.measure("00" * 32) is None
    missing = list(files)[2]
    (tmp_path / "cgroup" / missing.replace("SCOPE", f"docker/{ID}")).unlink()
    assert groups.measure(ID) is None
    for name in files:
        path = tmp_path / "cgroup" / name.replace("SCOPE", f"docker/{ID}")
        path.write_text("")
    assert groups.measure(ID) is None


def test_a_container_whose_processes_have_ended_is_no_measurement(tmp_path: Path) -> None:
    groups = cgroups(tmp_path, {**VERSION_2, "SCOPE/cgroup.procs": ""}, "docker/{}")
    assert groups.measure(ID) is None


def test_the_engines_own_statistics_say_the_same() -> None:
    statistics = {
        "cpu_stats": {"cpu_usage": {"total_usage": 123}},
        "memory_stats": {"usage": 5000, "limit": 9000, "stats": {"inactive_file": 1500}},
        "networks": {"eth0": {"rx_bytes": 1, "tx_bytes": 2}, "eth1": {"rx_bytes": 10, "tx_bytes": 20}},
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"op": "Read", "value": 5}, {"op": "write", "value": 6}, {"op": "Total", "value": 11},
            ]
        },
        "pids_stats": {"current": 4},
    }  # fmt: skip
    found = to_measurement(statistics)
    assert found is not None
    assert (found.cpu_ns, found.memory_bytes, found.memory_limit_bytes, found.pid_count) == (
        123,
        3500,
        9000,
        4,
    )
    assert (found.received_bytes, found.sent_bytes, found.read_bytes, found.written_bytes) == (11, 22, 5, 6)
    # What the engine writes of a container that has ended.
    assert to_measurement({"cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}}) is None
    bare = {"cpu_stats": {"cpu_usage": {"total_usage": 1}}, "memory_stats": {"usage": 1}, "blkio_stats": {
        "io_service_bytes_recursive": None}}  # fmt: skip
    assert to_measurement(bare) is not None
