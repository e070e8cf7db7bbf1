"""A node with three simulated radios and two roaming clients to play with: `make lab`."""

import signal
import sys

from tests.lab import machine, node
from tests.lab.chutes import CAFE, THREE, WPA2_KEY, WPA3_KEY
from tests.lab.kernel import KernelMissing
from tests.support.settings import PASSWORD

KEYS = {CAFE: (WPA2_KEY, "psk"), THREE: (WPA3_KEY, "sae")}
HELP = """
The node answers at http://{target}; its user is paradrop, its password '{password}'.
Its radios send 'Free WiFi' (open), 'Café "2"|\\' (WPA2) and 'Three' (WPA3).

    NODE=http://{target}/api/v1
    TOKEN={token}
    curl -s $NODE/network/radios -H "Authorization: Bearer $TOKEN"
    curl -s $NODE/chutes/captive-portal/networks/wifi/associations -H "Authorization: Bearer $TOKEN"
    curl -sN $NODE/chutes/captive-portal/networks/wifi/associations/watch -H "Authorization: Bearer $TOKEN"

Commands for the two clients, each on a line:

    1 join Free WiFi        client 1 joins and asks for an address
    2 leave                 client 2 leaves
    1 ping 192.168.128.2    and so on: any program, run as the client
    ! iw dev                any program, run in the machine
    quit
"""


def main() -> int:
    missing = machine.missing_packages()
    if missing:
        print(f"The lab needs these Debian packages: apt-get install {' '.join(missing)}", file=sys.stderr)
        return 1
    print("Booting a machine with simulated radios; the first time its kernel is fetched ...", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with node.running(radios=3, clients=2) as lab:
            print(HELP.format(target=lab.target, password=PASSWORD, token=lab.token), flush=True)
            for line in sys.stdin:
                if line.split() == ["quit"]:
                    break
                _obey(lab, line.split())
    except KernelMissing as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _obey(lab: node.LabNode, words: list[str]) -> None:
    try:
        match words:
            case ["!", *argv] if argv:
                print(lab.machine.run(*argv, check=False).output)
            case ["1" | "2" as number, "join", *name]:
                _join(lab, int(number), " ".join(name))
            case ["1" | "2" as number, "leave"]:
                lab.clients[int(number) - 1].leave()
            case ["1" | "2" as number, *argv] if argv:
                print(lab.clients[int(number) - 1].run(*argv, check=False).output)
            case []:
                pass
            case _:
                print("Not understood; see above.")
    except (machine.LabError, OSError) as error:
        print(error)
    print("> ", end="", flush=True)


def _join(lab: node.LabNode, number: int, name: str) -> None:
    key, security = KEYS.get(name, ("", "none"))
    client = lab.clients[number - 1]
    took_s = client.join(name, key=key, security=security)
    print(f"client {number} joined in {took_s:.1f} s and has {client.lease(f'client{number}')}")


if __name__ == "__main__":
    sys.exit(main())
