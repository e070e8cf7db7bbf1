"""What the node itself is counted by, besides its calls."""

import os
import time

from services.common.metrics import Family, Sample
from services.node.domain.inventory import Inventory
from services.node.domain.provision import Provisioning


def gauges(inventory: Inventory, provisioning: Provisioning) -> list[Family]:
    """Returns load, uptime, radios and the connection to the controller; costs no file and no wait."""
    loads = zip(("1m", "5m", "15m"), os.getloadavg(), strict=True)
    uptime_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    return [
        Family("paradrop_node_load", "Processes that run or wait.", "gauge",
               [Sample(load, {"over": over}) for over, load in loads]),
        Family("paradrop_node_uptime_seconds", "Time since the start of the machine.", "gauge",
               [Sample(uptime_s)]),
        Family("paradrop_node_radios", "Wi-Fi cards that are there.", "gauge",
               [Sample(len(inventory.hardware.radios))]),
        Family("paradrop_controller_provisioned", "Whether the node belongs to a controller.", "gauge",
               [Sample(provisioning.present.provisioned)]),
        Family("paradrop_controller_connected", "Whether the controller is connected.", "gauge",
               [Sample(provisioning.connected)]),
    ]  # fmt: skip
