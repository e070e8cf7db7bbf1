"""The list of 50 real stations beside the real `iw`, inside the lab's machine, and what watching them costs.

All of it runs on an emulated processor, some thirty times as slow as this one, so that only ratios mean much.
"""

import os
import signal
import sys
import time

from benchmarks.stations import (
    AIM_IDLE_PERCENT,
    CHUTE,
    CONNECTIONS,
    IDLE_S,
    NETWORK,
    STATIONS,
    SUBSCRIBERS,
    Figures,
    loading,
    read_figures,
    show,
)
from tests.lab import node
from tests.lab.air import let_crowd_join, wait_until

PATH = f"/api/v1/chutes/{CHUTE}/networks/{NETWORK}"
RADIOS, CLIENTS, FREQUENCY_MHZ = 3, 2, 2462
JOIN_TIMEOUT_S, LOAD_TIMEOUT_S = 300.0, 240.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measures lists and idle watching."""
    with node.running(RADIOS, CLIENTS, crowd=STATIONS) as lab:
        own = RADIOS + CLIENTS
        interfaces = [f"wlan{number}" for number in range(own, own + STATIONS)]
        began_s = time.monotonic()
        let_crowd_join(lab.machine, "Free WiFi", FREQUENCY_MHZ, interfaces)
        wait_until(
            "all stations", lambda: len(lab.get(f"{PATH}/associations")) == STATIONS, JOIN_TIMEOUT_S, 1
        )
        print(f"\n{STATIONS} stations joined in {time.monotonic() - began_s:.0f} s.")
        address = f"127.0.0.1:{node.SERVICE_PORT}"
        interface = lab.get(f"{PATH}/hostapd_status")["bss[0]"]
        found = []
        for callers in CONNECTIONS:
            dump = ("iw", "dev", interface, "station", "dump")
            spawned = _apart(lab, "spawn", str(callers), *dump)
            before_s = _processor_s(lab)
            called = _apart(lab, "call", str(callers), address, lab.token)
            found.append((callers, spawned, called, _processor_s(lab) - before_s))
        show(found, " of real radios on an emulated processor")
        _idle(lab, address)


def _apart(lab: node.LabNode, *words: str) -> Figures:
    return read_figures(lab.machine.run(*loading(*words), timeout_s=LOAD_TIMEOUT_S).output)


def _idle(lab: node.LabNode, address: str) -> None:
    """Tells what five subscribers cost the service; what they themselves take is not part of the figure."""
    logs = [f"/run/lab/told-{number}" for number in range(SUBSCRIBERS)]
    words = (sys.executable, "-m", "tests.lab.listener", address, lab.token, CHUTE, NETWORK)
    listeners = [lab.machine.spawn(*words, log=log) for log in logs]
    for log in logs:
        wait_until("the subscribers", lambda log=log: "synced" in lab.machine.read(log), 240, 1)
    before_s = _processor_s(lab)
    time.sleep(IDLE_S)
    percent = 100 * (_processor_s(lab) - before_s) / IDLE_S
    for pid in listeners:
        lab.machine.signal(pid, signal.SIGKILL)
    print(f"\nIdle, {STATIONS} stations and {SUBSCRIBERS} subscribers on an emulated processor")
    print(f"(aim on a real one: {AIM_IDLE_PERCENT:.0f} %): {percent:.1f} % of a core.")


def _processor_s(lab: node.LabNode) -> float:
    fields = lab.machine.run("cat", f"/proc/{lab.pid}/stat").output.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


if __name__ == "__main__":
    main()
