"""Names and addresses are those that Paradrop 0.13 gave, and never collide."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import InvalidArgument, ResourceExhausted
from services.network.domain.addresses import (
    automatic_lan_address,
    automatic_pool,
    chute_address,
    free_subnet,
    host_address,
    wanted_subnet,
)
from services.network.domain.naming import access_point_name, host_access_point_name, name_hash, vlan_name


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("captive-portal:wlan0", "7e1b"),
        ("hello-world:wlan0", "5f88"),
        ("seccam:wlan0", "3cbe"),
        ("newform:wlan0", "42d3"),
        ("a:b", "97aa"),
    ],
)
def test_names_of_access_points_are_those_of_the_original(text: str, digits: str) -> None:
    assert f"{name_hash(text):04x}" == digits
    assert access_point_name(*text.split(":"), taken=()) == f"vwlan{digits}"


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=15), st.integers(0, 20))
def test_a_taken_name_gives_the_next_number(chute: str, network: str, taken_count: int) -> None:
    start = name_hash(f"{chute}:{network}")
    taken = {f"vwlan{(start + step) & 0xFFFF:04x}" for step in range(taken_count)}
    name = access_point_name(chute, network, taken)
    assert name == f"vwlan{(start + taken_count) & 0xFFFF:04x}"
    assert len(name.encode()) <= 15


def test_the_hosts_access_points_begin_with_the_radios_own_interface() -> None:
    assert host_access_point_name("wlan0", ()) == "wlan0"
    assert host_access_point_name("wlan0", {"wlan0"}) == "vwlan0.0000"
    assert host_access_point_name("wlan0", {"wlan0", "vwlan0.0000"}) == "vwlan0.0001"
    assert len(host_access_point_name("wlx00c0ca112233", {"wlx00c0ca112233"})) <= 15
    assert vlan_name(4094) == "br-lan.4094"


def test_the_pool_avoids_the_network_before_the_node() -> None:
    inside, outside = IPv4Address("10.1.2.3"), IPv4Address("192.0.2.2")
    assert str(automatic_pool(inside)) == "192.168.128.0/17"
    assert str(automatic_pool(outside)) == str(automatic_pool(None)) == "10.128.0.0/9"
    assert str(automatic_lan_address(inside)) == "192.168.0.1"
    assert str(automatic_lan_address(outside)) == "10.0.0.1"


def test_host_and_chute_have_the_first_two_addresses() -> None:
    subnet = IPv4Network("192.168.128.0/24")
    assert str(host_address(subnet)) == "192.168.128.1/24"
    assert str(chute_address(subnet)) == "192.168.128.2/24"


_networks = st.builds(
    lambda address, prefix: IPv4Network((address, prefix), strict=False),
    st.integers(0x0A000000, 0x0AFFFFFF),
    st.integers(10, 30),
)


@settings(deadline=None)  # Machines that test are busy, and the model is slow.
@given(st.lists(_networks, max_size=12), st.integers(18, 28))
def test_a_free_subnet_is_the_first_that_overlaps_nothing(taken: list[IPv4Network], prefix: int) -> None:
    pool = IPv4Network("10.128.0.0/16")
    first = next(
        (net for net in pool.subnets(new_prefix=prefix) if not any(map(net.overlaps, taken))),
        None,
    )
    if first is None:
        with pytest.raises(ResourceExhausted) as raised:
            free_subnet(pool, prefix, taken)
        assert raised.value.reason == "ADDRESS_POOL_EXHAUSTED"
    else:
        assert free_subnet(pool, prefix, taken) == first


def test_a_prefix_larger_than_the_pool_is_refused() -> None:
    with pytest.raises(InvalidArgument) as raised:
        free_subnet(IPv4Network("10.0.0.0/24"), 16, ())
    assert raised.value.field == "system.chutePrefixSize"


@pytest.mark.parametrize(
    "text",
    ["", "x", "1.2.3.4/24", "127.0.0.0/24", "169.254.1.0/24", "10.0.0.0/31", "10.0.0.0/7", "fd00::/64"],
)
def test_bad_subnets_are_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        wanted_subnet(text, "ipv4_network")
    assert (raised.value.reason, raised.value.field) == ("NETWORK_INVALID", "ipv4_network")


def test_a_host_address_stands_for_its_network() -> None:
    assert str(wanted_subnet("192.168.7.1/24", "x")) == "192.168.7.0/24"
