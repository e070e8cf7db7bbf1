"""Runs inside the lab's machine: watches the stations of a network and writes down when it was told of each.

Its times are by the clock of the machine, as are those of the kernel's own events.
"""

import sys
import time

import grpc
from paradrop.network.v1 import wireless_pb2
from paradrop.network.v1.wireless_pb2_grpc import WirelessServiceStub


def main(address: str, token: str, chute: str, network: str) -> None:
    """Prints a line for each station that may pass data, and one when all that are there were told."""
    request = wireless_pb2.WatchStationsRequest(chute=chute, network=network)
    with grpc.insecure_channel(address) as channel:
        stub = WirelessServiceStub(channel)
        for message in stub.WatchStations(request, metadata=[("authorization", f"Bearer {token}")]):
            told_s = time.time()
            if message.HasField("synced"):
                print(f"{told_s:.6f} synced", flush=True)
            for upsert in message.changes.upserts:
                if upsert.authorized:
                    print(f"{told_s:.6f} {upsert.mac}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
