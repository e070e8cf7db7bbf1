"""Compares JSON with the shape that the documented interface gives it: exact keys, exact JSON types."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NUMBER = (int, float)
"""A JSON number of either form, for values that are measured and may happen to be whole."""
TEXT_OR_NULL = (str, None)


@dataclass(frozen=True)
class Each:
    """An object with free keys, whose values all have one shape."""

    shape: Any


def faults(shape: Any, value: Any, path: str = "$") -> Iterator[str]:
    """Yields what differs.

    A shape is a type, None, a list of one shape, a dict of exact keys, Each, or a tuple of choices.
    """
    if isinstance(shape, tuple):
        if all(any(faults(one, value)) for one in shape):
            yield f"{path}: {value!r} is none of {shape}"
    elif isinstance(shape, Each):
        if not isinstance(value, dict):
            yield f"{path}: {value!r} is no object"
        else:
            for key, part in value.items():
                yield from faults(shape.shape, part, f"{path}.{key}")
    elif isinstance(shape, Mapping):
        if not isinstance(value, dict) or set(value) != set(shape):
            yield f"{path}: keys {_keys(value)} instead of {sorted(shape)}"
        else:
            for key, part in shape.items():
                yield from faults(part, value[key], f"{path}.{key}")
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{path}: {value!r} is no array"
        else:
            for number, part in enumerate(value):
                yield from faults(shape[0], part, f"{path}[{number}]")
    elif shape is None:
        if value is not None:
            yield f"{path}: {value!r} is not null"
    elif type(value) is not shape:
        yield f"{path}: {value!r} is no {shape.__name__}"


def _keys(value: Any) -> Any:
    return sorted(value) if isinstance(value, dict) else repr(value)


def same_keys(names: str, shape: Any) -> dict[str, Any]:
    """Returns an object in which these names, divided by blanks, all have one shape."""
    return dict.fromkeys(names.split(), shape)


COUNTERS = same_keys(
    "bytes_sent bytes_recv packets_sent packets_recv errin errout dropin dropout", int
)  # fmt: skip
INTERFACE = {
    "name": str, "type": TEXT_OR_NULL, "isup": bool, "duplex": int, "speed": int, "mtu": int,
    "addresses": [{"family": int, "address": str, **same_keys("netmask broadcast ptp", TEXT_OR_NULL)}],
    "io_counters": (COUNTERS, None),
}  # fmt: skip
PROCESS = {
    "cpu_num": int,
    "cpu_times": same_keys("user system children_user children_system", NUMBER),
    "create_time": NUMBER,
    "memory_info": same_keys("rss vms shared text lib data dirty", int),
    "num_ctx_switches": same_keys("voluntary involuntary", int),
    "num_threads": int,
}
SYSTEM = {
    "boot_time": NUMBER,
    "cpu_count": int,
    "cpu_stats": same_keys("ctx_switches interrupts soft_interrupts syscalls", int),
    "cpu_times": [
        same_keys("user nice system idle iowait irq softirq steal guest guest_nice", NUMBER)
    ],
    "disk_io_counters": same_keys(
        "read_count write_count read_bytes write_bytes read_time write_time"
        " read_merged_count write_merged_count busy_time", int,
    ),
    "disk_usage": [{"mountpoint": str, "total": int, "used": int}],
    "net_io_counters": COUNTERS,
    "swap_memory": {**same_keys("total used free sin sout", int), "percent": NUMBER},
    "virtual_memory": {
        **same_keys("total available used free active inactive buffers cached shared slab", int),
        "percent": NUMBER,
    },
}  # fmt: skip
TELEMETRY = {
    "time": NUMBER,
    "chutes": [{"name": str, "state": str, "process": (PROCESS, None), "network": [INTERFACE]}],
    "network": [INTERFACE],
    "system": SYSTEM,
}

HARDWARE = {
    "vendor": TEXT_OR_NULL, "board": str, "cpu": str, "memory": int,
    "wifi": [same_keys("id macAddr vendorId deviceId slot", str)],
}  # fmt: skip
SOFTWARE = {
    **same_keys("biosVendor biosVersion biosDate osVersion kernelVersion pdVersion", TEXT_OR_NULL),
    "uptime": int,
}
PROVISION = {
    "routerId": TEXT_OR_NULL,
    **same_keys("pdserver wampRouter", str),
    **same_keys("provisioned httpConnected wampConnected", bool),
}
STATUS_CARD = {
    "isup": bool, **COUNTERS, **same_keys("speed mtu", int), **same_keys("ipv4 netmask mac", str),
}  # fmt: skip
STATUS = {
    "cpu_load": [int],
    "mem": same_keys("total available free cached buffers", int),
    "disk": Each(same_keys("total used", int)),
    "network": Each(STATUS_CARD),
}
SETTINGS = {
    **same_keys(
        "debug_mode pdconfd_enabled reject_downgrade concurrent_builds allow_monitor_mode check_docker"
        " default_wireless_enabled",
        bool,
    ),
    **same_keys(
        "portal_server_port pdserver_max_concurrent_requests fc_chutestorage_save_timer container_uid", int
    ),
    **same_keys(
        "config_home_dir runtime_home_dir tmp_dir log_dir key_dir misc_dir config_file pdserver wamp_router"
        " pdconfd_write_dir fc_chutestorage_file default_lan_address default_lan_network"
        " dynamic_network_pool uci_config_dir uci_backup_dir local_domain host_config_file"
        " default_host_config_file host_data_partition internal_data_dir external_data_dir"
        " internal_system_dir external_system_dir registry_username docker_bin_dir snapd_interface"
        " governor_interface chute_config_file airshark_install_dir zerotier_lib_dir default_panel_username"
        " default_wireless_essid",
        str,
    ),
    # Never shown, or not set.
    **same_keys("registry_password default_panel_password default_wireless_key fc_bounce_update", None),
}
