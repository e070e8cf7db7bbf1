"""What a chute may ask of its networks, as stations find it on the air: all on one radio at once."""

import time
from collections.abc import Iterator

import pytest

from tests.lab.air import Client
from tests.lab.chutes import PLAN, access_point
from tests.lab.machine import Machine
from tests.lab.node import INTERNET, UPLINK, LabNode

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

RADIO = "other-wifi-2"
KEY = "a key for both"
SECRET = "between node and server"
USER, PASSWORD = "alice", "wonderland 8"
NETWORKS = {
    "Mixed": access_point("mixed", "Mixed", radio=RADIO, wireless={"encryption": "sae-mixed", "key": KEY}),
    "Hidden": access_point("hidden", "Hidden", radio=RADIO, wireless={"hidden": True}),
    "Apart": access_point("apart", "Apart", "192.168.150.0/24", radio=RADIO, wireless={"isolate": True}),
    "One at most": access_point("one", "One at most", radio=RADIO, wireless={"maxassoc": 1}),
    "Company": access_point(
        "company",
        "Company",
        radio=RADIO,
        wireless={
            "encryption": "wpa2",
            "auth_server": INTERNET,
            "auth_secret": SECRET,
            "acct_server": INTERNET,
            "acct_secret": SECRET,
            "nasid": "the node",
        },
    ),
    "Named": access_point("named", "Named", "192.168.151.0/24", radio=RADIO, dhcp={"dns": [INTERNET]}),
    "Relayed": access_point("relayed", "Relayed", "192.168.152.0/24", radio=RADIO, dhcp={"relay": INTERNET}),
}


@pytest.fixture(scope="module")
def options(lab_session: LabNode) -> Iterator[LabNode]:
    """The node with a chute that has a network for each option, and servers in the internet."""
    lab_session.settle({**PLAN, "options": list(NETWORKS.values())})
    servers = [_radius_server(lab_session.machine), _dhcp_server(lab_session.machine)]
    yield lab_session
    for pid in servers:
        lab_session.machine.signal(pid, 9)


@pytest.fixture
def client(options: LabNode) -> Iterator[Client]:
    yield options.clients[0]
    options.clients[0].leave()


@pytest.fixture
def other(options: LabNode) -> Iterator[Client]:
    yield options.clients[1]
    options.clients[1].leave()


def _in_internet(*argv: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", "internet", *argv)


def _radius_server(machine: Machine) -> int:
    """Starts hostapd as a RADIUS server with one user."""
    make = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=radius"
    )
    machine.run("sh", "-c", f"cd /run/lab && {make} -keyout radius.key -out radius.crt 2>&1", timeout_s=60)
    machine.write("/run/lab/radius.clients", f"{UPLINK} {SECRET}\n")
    users = f'* PEAP\n"{USER}" MSCHAPV2 "{PASSWORD}" [2]\n'
    machine.write("/run/lab/radius.users", users)
    settings = {
        "interface": "far",
        "driver": "none",
        "eap_server": 1,
        "eap_user_file": "/run/lab/radius.users",
        "ca_cert": "/run/lab/radius.crt",
        "server_cert": "/run/lab/radius.crt",
        "private_key": "/run/lab/radius.key",
        "radius_server_clients": "/run/lab/radius.clients",
        "radius_server_auth_port": 1812,
        "radius_server_acct_port": 1813,
        "logger_stdout": -1,
        "logger_stdout_level": 0,
    }
    lines = [f"{name}={value}\n" for name, value in settings.items()]
    machine.write("/run/lab/radius.conf", "".join(lines))
    return machine.spawn(*_in_internet("hostapd", "-dd", "/run/lab/radius.conf"), log="/run/lab/radius.log")


def _dhcp_server(machine: Machine) -> int:
    """Starts dnsmasq with addresses for the network that is relayed, and a name that nobody else knows."""
    machine.run("ip", "-n", "internet", "route", "replace", "192.168.152.0/24", "via", UPLINK)
    return machine.spawn(
        *_in_internet(
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"
        ),
        *("--interface=far", "--bind-interfaces", "--user=root", "--dhcp-authoritative"),
        *("--dhcp-range=192.168.152.200,192.168.152.210,255.255.255.0,1h", "--pid-file=/run/lab/far.pid"),
        *("--dhcp-leasefile=/run/lab/far.leases", "--address=/name.example/198.51.100.7"),
        log="/run/lab/far.log",
    )


@pytest.mark.parametrize("security", ["psk", "sae"])
def test_wpa2_and_wpa3_stations_join_the_same_network(
    options: LabNode, client: Client, security: str
) -> None:
    client.join("Mixed", key=KEY, security=security)
    assert client.status()["key_mgmt"] == {"psk": "WPA2-PSK", "sae": "SAE"}[security]


def test_a_hidden_network_is_not_announced_and_can_be_joined(options: LabNode, client: Client) -> None:
    assert "Hidden" not in client.finds("Apart", 2412)
    client.join("Hidden")


def test_isolated_stations_reach_the_chute_and_not_each_other(
    options: LabNode, client: Client, other: Client
) -> None:
    addresses = []
    for roaming in (client, other):
        roaming.join("Apart")
        addresses.append(roaming.lease())
    assert client.hears("192.168.150.2", addresses[1]) == {"192.168.150.2"}
    assert other.hears("192.168.150.2", addresses[0]) == {"192.168.150.2"}


def test_no_more_stations_than_allowed_join(options: LabNode, client: Client, other: Client) -> None:
    client.join("One at most")
    other.begin_to_join("One at most")
    time.sleep(4)  # It tries at once, and again.
    assert not other.is_in("One at most")
    stations = options.get("/api/v1/chutes/options/networks/one/stations")
    assert [station["mac_addr"] for station in stations] == [client.mac]
    client.leave()
    other.join("One at most")


def test_a_radius_server_decides_who_joins(options: LabNode, client: Client) -> None:
    options.machine.run("cp", "/run/lab/radius.crt", "/run/lab/trusted.crt")
    credentials = {
        "eap": "PEAP",
        "identity": f'"{USER}"',
        "phase2": '"auth=MSCHAPV2"',
        "ca_cert": '"/run/lab/trusted.crt"',
    }
    said = client.said()
    client.begin_to_join("Company", security="eap", password='"not the one"', **credentials)
    client.refused(said)
    assert not client.is_in("Company")
    client.join("Company", security="eap", password=f'"{PASSWORD}"', **credentials)
    assert client.status()["EAP state"] == "SUCCESS"
    (station,) = options.get("/api/v1/chutes/options/networks/company/stations")
    assert station["authorized"] == "yes"
    address = client.lease()
    assert address.startswith("10.128.")
    assert SECRET not in str(options.get("/api/v1/chutes/options/networks/company/ssid"))
    log = options.machine.read("/run/lab/radius.log")
    assert "the node" in log  # The NAS identifier.


def test_names_are_asked_of_the_servers_that_the_chute_names(options: LabNode, client: Client) -> None:
    client.join("Named")
    client.lease()
    answer = client.run("busybox", "nslookup", "name.example", "192.168.151.1", check=False).output
    assert "198.51.100.7" in answer
    own = client.run("busybox", "nslookup", "paradrop.io", "192.168.151.1", check=False).output
    assert "10.0.0.1" in own


def test_a_relay_passes_the_addresses_of_another_server_on(options: LabNode, client: Client) -> None:
    client.join("Relayed")
    assert client.lease().startswith("192.168.152.2")
    assert options.get("/api/v1/chutes/options/networks/relayed/leases") == []
