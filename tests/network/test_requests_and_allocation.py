"""What a chute may ask for, how it is refused, and what it is given."""

import json
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import DomainError, InvalidArgument
from services.network.domain.access_points import Radio
from services.network.domain.allocation import HostUse, allocate
from services.network.domain.chute_setup import dhcp_config
from services.network.domain.documents import from_document, to_cache, to_document
from services.network.domain.facts import Facts
from services.network.domain.hostdiff import MASK
from services.network.domain.model import Network, Wanted
from services.network.domain.ports import LinkState
from services.network.domain.requests import read_wanted
from tests.network.documents import example

AP = {"type": "wifi-ap", "wireless": {"ssid": "Free WiFi"}}
DHCP = {"leasetime": "1h", "start": 4, "limit": 250}


def read(name: str = "wlan0", section: str = "", **definition: Any) -> Wanted:
    return read_wanted(name, section, "main", definition)


def ap(name: str = "wlan0", **more: Any) -> Wanted:
    return read(name, **{**AP, **more})


def radio(number: int, **more: Any) -> Radio:
    values = {"channels_2g": (1, 6, 11), "max_access_points": 8, **more}
    return Radio(f"phy{number}", f"pci-wifi-{number}", f"02:00:00:00:00:0{number}", f"wlan{number}", **values)


def link(name: str, *addresses: str, **more: Any) -> LinkState:
    values = {"index": 1, "kind": "", "up": True, "mac": "", "physical": True, **more}
    return LinkState(name=name, addresses=tuple(map(IPv4Interface, addresses)), **values)


def facts(*radios: Radio, managed: bool = False, monitor: bool = False, **places: Any) -> Facts:
    links = [link("eth0", "192.0.2.2/24"), link("eth1"), link("eth2"), link("wlan0", wireless=True)]
    return Facts(
        document=example(**places),
        links={item.name: item for item in links},
        radios=radios,
        uplink="eth0",
        managed=managed,
        monitor_allowed=monitor,
    )


def given_to(
    chute: str, *wanted: Wanted, present: Any = (), on: Facts | None = None, use: HostUse | None = None
) -> tuple[Network, ...]:
    return allocate(chute, wanted, present, on or facts(radio(0)), use or HostUse())


def reason(*arguments: Any, **more: Any) -> str:
    with pytest.raises(DomainError) as raised:
        given_to(*arguments, **more)
    return raised.value.reason


@pytest.mark.parametrize(
    ("definition", "place"),
    [
        ({"type": "tunnel"}, "type"),
        ({**AP, "wireless": {}}, "ssid"),
        ({**AP, "wireless": {"ssid": ""}}, "ssid"),
        ({**AP, "wireless": {"ssid": "a\nb"}}, "ssid"),
        ({**AP, "wireless": {"ssid": "é" * 17}}, "ssid"),
        ({**AP, "wireless": {"ssid": "x", "key": "short"}}, "key"),
        ({**AP, "wireless": {"ssid": "x", "key": "with\nbreak"}}, "key"),
        ({**AP, "wireless": {"ssid": "x", "encryption": "psk2"}}, "key"),
        ({**AP, "wireless": {"ssid": "x", "encryption": "none", "key": "12345678"}}, "key"),
        ({**AP, "wireless": {"ssid": "x", "encryption": "rot13"}}, "encryption"),
        ({**AP, "wireless": {"ssid": "x", "encryption": "wpa2"}}, "auth_server"),
        ({**AP, "wireless": {"ssid": "x", "acct_server": "10.0.0.9"}}, "acct_secret"),
        ({**AP, "wireless": {"ssid": "x", "nasid": "a b\n"}}, "nasid"),
        ({**AP, "wireless": {"ssid": "x", "maxassoc": -1}}, "maxassoc"),
        ({**AP, "wireless": {"ssid": "x", "hidden": "yes"}}, "hidden"),
        ({**AP, "wireless": {"ssid": "x", "wpa_psk_file": "/etc/shadow"}}, "wireless.wpa_psk_file"),
        ({**AP, "l3bridge": "x"}, "l3bridge"),
        ({**AP, "ipv4_network": "8.8.8.0/24"}, "ipv4_network"),
        ({**AP, "dhcp": {"leasetime": "12 hours"}}, "dhcp.leasetime"),
        ({**AP, "dhcp": {"lease": "12h", "start": 2}}, "dhcp.start"),
        ({**AP, "dhcp": {"lease": "12h", "dns": ["x"]}}, "dhcp.dns"),
        ({**AP, "dhcp": {"lease": "12h", "relay": ["10.0.0.1", "10.0.0.2"]}}, "dhcp.relay"),
        ({**AP, "port-bindings": {"80/sctp": 80}}, "port-bindings"),
        ({**AP, "port-bindings": {"80/tcp": 99999}}, "port-bindings"),
        ({"type": "vlan"}, "vlan_id"),
        ({"type": "vlan", "vlan_id": 4095}, "vlan_id"),
        ({"type": "wifi-monitor", "dhcp": DHCP}, "dhcp"),
        ({**AP, "requests": {"antenna": 1}}, "requests.antenna"),
    ],
)
def test_what_is_wrong_is_named(definition: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        read_wanted("wlan0", "", "main", definition)
    assert (raised.value.reason, raised.value.field) == ("NETWORK_INVALID", f"interfaces.wlan0.{place}")
    assert "short" not in str(raised.value)


@pytest.mark.parametrize("name", ["", "1x", "a b", "a/b", "x" * 16, "wlän0", "a\n"])
def test_names_of_interfaces_are_those_the_kernel_takes(name: str) -> None:
    with pytest.raises(InvalidArgument):
        read_wanted(name, "", "main", AP)


def test_both_spellings_and_forms_mean_the_same() -> None:
    new = read(
        type="wifi-ap",
        wireless={"ssid": "x", "key": "a good key", "maxassoc": 3},
        dhcp={"lease": "1h", "start": 4, "limit": 50, "dns": ["1.1.1.1"]},
        **{"port-bindings": {"80/tcp": 8080}},
    )
    old = read(
        type="wifi",
        ssid="ignored",
        key="a good key",
        options={"ssid": "x", "maxassoc": 3.0},
        dhcp={"leasetime": "1h", "start": 4, "limit": 50},
        dns="1.1.1.1",
        **{"port-bindings": [{"external": 8080, "internal": 80}]},
    )
    assert new == old
    assert new.wireless is not None
    assert new.wireless.encryption == "psk2"
    assert read(type="vlan", **{"vlan-id": 7}) == read(type="vlan", vlan_id=7)
    assert read(type="monitor").type == "wifi-monitor"


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["type", "wireless", "dhcp", "dns", "ssid", "key", "vlan_id", "port-bindings",
                         "requests", "options", "ipv4_network", "mode", "encryption", "hidden"]),
        _anything | st.sampled_from(["wifi-ap", "vlan", "lan", "psk2", "x" * 8]),
    )
)  # fmt: skip
def test_whatever_is_written_is_taken_or_refused(definition: dict[str, Any]) -> None:
    try:
        wanted = read_wanted("wlan0", "", "main", definition)
    except InvalidArgument as refusal:
        reason, texts = refusal.reason, []
    else:
        wireless = wanted.wireless
        reason, texts = "", [wireless.ssid, wireless.key or "", wireless.nasid or ""] if wireless else []
    assert reason in ("", "NETWORK_INVALID")
    assert not any(ord(char) < 32 or ord(char) == 127 for text in texts for char in text)


def test_networks_get_the_addresses_and_names_of_the_original() -> None:
    (first, second) = given_to("captive-portal", ap("wlan0"), ap("wlan1"))
    assert (first.interface, str(first.subnet)) == ("vwlan7e1b", "10.128.0.0/24")
    assert (str(first.host_address), str(first.chute_address)) == ("10.128.0.1/24", "10.128.0.2/24")
    assert str(second.subnet) == "10.128.1.0/24"
    (third,) = given_to("hello-world", ap(), present=[first, second])
    assert (third.interface, str(third.subnet)) == ("vwlan5f88", "10.128.2.0/24")


def test_what_a_chute_has_it_keeps() -> None:
    one, two = given_to("web", ap("wlan0"), ap("wlan1"))
    again = given_to("web", ap("wlan1", dhcp=DHCP), ap("wlan2"), ap("wlan0"), present=[one, two])
    assert [n.name for n in again] == ["wlan1", "wlan2", "wlan0"]
    assert (again[0].subnet, again[0].interface) == (two.subnet, two.interface)
    assert again[2] == one
    (moved,) = given_to("web", ap("wlan1"), present=[two])
    assert moved == two


def test_subnets_avoid_the_hosts_networks_and_wishes_are_fulfilled_or_refused() -> None:
    (wish,) = given_to("web", ap(ipv4_network="192.168.33.0/24"))
    assert str(wish.subnet) == "192.168.33.0/24"
    assert reason("other", ap(ipv4_network="192.168.33.128/25"), present=[wish]) == "SUBNET_TAKEN"
    assert reason("other", ap(ipv4_network="10.0.0.0/24")) == "SUBNET_TAKEN"
    inside = facts(radio(0), system__chuteSubnetPool="auto")
    inside = Facts(inside.document, {"eth0": link("eth0", "10.3.0.9/16")}, (radio(0),), uplink="eth0")
    (network,) = given_to("web", ap(), on=inside)
    assert str(network.subnet) == "192.168.128.0/24"
    small = facts(radio(0), system__chuteSubnetPool="10.128.0.0/23")
    full = given_to("web", ap("a"), ap("b"), on=small)
    assert reason("more", ap(), present=full, on=small) == "ADDRESS_POOL_EXHAUSTED"


def test_radios_are_shared_up_to_their_limit_and_chosen_by_what_is_asked() -> None:
    both = facts(radio(0, max_access_points=2), radio(1))
    networks = given_to("web", ap("a"), ap("b"), ap("c"), on=both)
    assert [n.radio for n in networks] == ["pci-wifi-0", "pci-wifi-0", "pci-wifi-1"]
    (network,) = given_to("web", ap(), on=both, use=HostUse({"pci-wifi-1": 1}))
    assert network.radio == "pci-wifi-1"
    assert (
        reason("web", ap(), on=both, use=HostUse({"pci-wifi-0": 2, "pci-wifi-1": 8})) == "RADIO_NOT_AVAILABLE"
    )
    (network,) = given_to("web", ap(requests={"hwmode": "11a"}), on=both)
    assert network.radio == "pci-wifi-0"
    assert reason("web", ap(requests={"channel": 1}), on=both) == "RADIO_NOT_AVAILABLE"
    assert reason("web", ap(), on=facts()) == "RADIO_NOT_AVAILABLE"


def test_a_monitor_has_a_radio_for_itself_if_the_operator_allows_it() -> None:
    monitor = read("mon0", type="wifi-monitor")
    assert reason("web", monitor) == "MONITOR_MODE_NOT_ALLOWED"
    both = facts(radio(0), radio(1), monitor=True)
    (network,) = given_to("web", monitor, on=both, use=HostUse({"pci-wifi-0": 1}))
    assert (network.radio, network.interface, network.subnet) == ("pci-wifi-1", "wlan1", None)
    (other,) = given_to("other", ap(), present=[network], on=both)
    assert other.radio == "pci-wifi-0"
    assert reason("third", monitor, present=[network, other], on=both) == "RADIO_NOT_AVAILABLE"


def test_vlans_and_sockets_are_exclusive() -> None:
    vlan = read("eth5", type="vlan", vlan_id=5)
    managed = facts(managed=True)
    (network,) = given_to("web", vlan, on=managed)
    assert network.interface == "br-lan.5"
    assert reason("other", vlan, present=[network], on=managed) == "VLAN_TAKEN"
    assert reason("other", vlan, on=facts(managed=True, vlan___interfaces=[{"id": 5}])) == "VLAN_TAKEN"
    assert reason("other", vlan, on=facts()) == "HOST_NOT_MANAGED"
    (wired,) = given_to("web", read("lan0", type="lan"), on=managed)
    assert wired.interface == "eth2"  # eth0 is the uplink, and eth1 is in the bridge.
    assert reason("other", read("lan0", type="lan"), present=[wired], on=managed) == "INTERFACE_TAKEN"
    assert reason("other", read("lan0", type="lan", requests={"id": "eth0"})) == "INTERFACE_TAKEN"


def test_a_name_stands_for_one_network_only() -> None:
    assert reason("web", ap("wlan0"), ap("wlan0")) == "NETWORK_INVALID"
    named = read("wlan1", section="wlan0", **AP)
    assert reason("web", ap("wlan0"), named) == "NETWORK_INVALID"


@settings(deadline=None)  # A history may be long, and the machine busy.
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), max_size=8))
def test_no_two_networks_ever_share_a_subnet_or_a_name(history: list[tuple[int, int]]) -> None:
    present: list[Network] = []
    for chute, count in history:
        name = f"chute{chute}"
        wanted = [ap(f"wlan{number}") for number in range(count)]
        everything = facts(*(radio(number) for number in range(4)))
        given = given_to(name, *wanted, present=present, on=everything)
        present = [n for n in present if n.chute != name] + list(given)
        assert len({n.interface for n in present}) == len(present)
        subnets = [n.subnet for n in present if n.subnet]
        assert not any(a.overlaps(b) for i, a in enumerate(subnets) for b in subnets[:i])


def test_what_is_stored_comes_back_and_what_is_shown_has_no_key() -> None:
    wireless = {
        "ssid": "x", "encryption": "wpa2", "auth_server": "10.0.0.9", "auth_secret": "radius secret",
        "isolate": True, "maxassoc": 5,
    }  # fmt: skip
    networks = given_to(
        "web",
        ap("a", wireless=wireless, dhcp={**DHCP, "dns": ["1.1.1.1"], "relay": ["10.0.0.3"]}),
        ap("b", wireless={"ssid": "y", "key": "the chute's key"}, **{"port-bindings": {"80/tcp": 8080}}),
    )
    for network in networks:
        assert from_document(json.loads(json.dumps(to_document(network)))) == network
        assert "secret" not in repr(network) + json.dumps(to_cache(network))
        assert "the chute's key" not in repr(network) + json.dumps(to_cache(network))
    assert to_cache(networks[1])["key"] == MASK
    assert to_cache(networks[0])["dhcp"] == {
        "lease": "1h",
        "start": 4,
        "limit": 250,
        "dns": ["1.1.1.1"],
        "relay": "10.0.0.3",
    }


def test_addresses_are_given_out_within_the_subnet_and_lead_to_the_chute() -> None:
    (network,) = given_to("web", ap(dhcp=DHCP))
    config = dhcp_config(network, IPv4Address("10.0.0.1"))
    assert config is not None
    assert (str(config.range_start), str(config.range_end)) == ("10.128.0.4", "10.128.0.254")
    assert (str(config.router), str(config.address)) == ("10.128.0.2", "10.128.0.1")
    assert config.names == {"paradrop.io": IPv4Address("10.0.0.1")}
    (tiny,) = given_to("web", ap(dhcp=DHCP, ipv4_network="192.168.9.0/29"))
    config = dhcp_config(tiny, None)
    assert config is not None
    assert (str(config.range_start), str(config.range_end)) == ("192.168.9.4", "192.168.9.6")
    assert config.network == IPv4Network("192.168.9.0/29")
