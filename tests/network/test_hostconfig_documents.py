"""Host configurations are checked place by place, compared, masked, and generated as the original did."""

import json
from ipaddress import IPv4Interface
from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from services.common.documents import bare, from_struct, to_struct
from services.network.domain.access_points import Radio
from services.network.domain.hostcheck import violations
from services.network.domain.hostdiff import MASK, differences, masked, unmasked
from services.network.domain.hostgenerate import generate
from services.network.domain.hostschema import HOST_CONFIG_SCHEMA
from services.network.domain.ports import LinkState
from tests.network.documents import EXAMPLE, example

RULE_PORT = "firewall.rules[0].dest_port"
WAN = {
    "interface": "eth0",
    "proto": "static",
    "ipaddr": "203.0.113.7",
    "netmask": "255.255.255.0",
    "gateway": "203.0.113.1",
}
AP = {"device": "pci-wifi-0", "ssid": "Paradrop", "mode": "ap", "network": "lan"}

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)
_documents = st.dictionaries(st.text(), _json, max_size=6)


def wrong(document: dict[str, Any]) -> list[str]:
    return [violation.field for violation in violations(document)]


def test_the_documented_example_is_valid_and_the_schema_a_schema() -> None:
    assert violations(EXAMPLE) == []
    Draft202012Validator.check_schema(HOST_CONFIG_SCHEMA)


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ({}, [""] * 3),
        (example(lan__dhcp__limit="many"), ["lan.dhcp.limit"]),
        (example(lan__dhcp__limit=200), ["lan.dhcp"]),
        (example(lan__interfaces=["eth1", "eth1"]), ["lan.interfaces"]),
        (example(lan__interfaces=["eth0"]), ["lan.interfaces"]),
        (example(lan__interfaces=["eth1\nup rm"]), ["lan.interfaces[0]"]),
        (example(lan__ipaddr="10.0.0.256"), ["lan.ipaddr"]),
        (example(lan__ipaddr="10.0.0.0"), ["lan.ipaddr"]),
        (example(lan__netmask="255.0.255.0"), ["lan.netmask"]),
        (example(lan__proto="magic"), ["lan.proto"]),
        (example(system__chutePrefixSize=33), ["system.chutePrefixSize"]),
        (example(system__chuteSubnetPool="10.0.0.0/33"), ["system.chuteSubnetPool"]),
        (example(wan=WAN | {"gateway": "198.51.100.1"}), ["wan.gateway"]),
        (example(wan=WAN | {"gateway": WAN["ipaddr"]}), ["wan.gateway"]),
        (example(wan={key: WAN[key] for key in WAN if key != "gateway"}), ["wan"]),
        (example(wan={key: WAN[key] for key in WAN if key != "netmask"}), ["wan"]),
        (example(wan=WAN | {"ipaddr": "10.0.0.2", "gateway": "10.0.0.3"}), ["wan.ipaddr"]),
        (example(telemetry__interval=2**60), ["telemetry.interval"]),
        (example(more={"number": 2.0**60}), ["more.number"]),
        (example(wifi___interfaces=[{**AP, "ssid": ""}]), ["wifi-interfaces[0].ssid"]),
        (example(wifi___interfaces=[{**AP, "ssid": "é" * 17}]), ["wifi-interfaces[0].ssid"]),
        (example(wifi___interfaces=[{**AP, "ssid": "a\nb"}]), ["wifi-interfaces[0].ssid"]),
        (example(wifi___interfaces=[{**AP, "key": "short"}]), ["wifi-interfaces[0].key"]),
        (example(wifi___interfaces=[{**AP, "key": "line\nbreak"}]), ["wifi-interfaces[0].key"]),
        (example(wifi___interfaces=[{**AP, "key": "x" * 64}]), ["wifi-interfaces[0].key"]),
        (example(wifi___interfaces=[{**AP, "key": MASK}]), ["wifi-interfaces[0].key"]),
        (example(wifi___interfaces=[{**AP, "encryption": "psk2"}]), ["wifi-interfaces[0]"]),
        (example(wifi___interfaces=[{**AP, "mode": "airshark"}] * 2), ["wifi-interfaces"]),
        (example(wifi=[EXAMPLE["wifi"][0]] * 2), ["wifi"]),
        (example(firewall__rules=[{"target": "DROP", "dest_port": "8-7"}]), [RULE_PORT]),
        (example(firewall__rules=[{"target": "DROP", "dest_port": "99999"}]), [RULE_PORT]),
        (
            example(vlan___interfaces=[{"id": 5, "proto": "dhcp"}, {"id": 5, "proto": "static"}]),
            ["vlan-interfaces[1].id", "vlan-interfaces[1]"],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_place(document: dict[str, Any], fields: list[str]) -> None:
    assert wrong(document) == fields


def test_a_secret_is_never_repeated_in_a_refusal() -> None:
    secret = "hunter2\n"
    found = violations(example(wifi___interfaces=[{**AP, "key": secret, "ssid": 5}]))
    assert found
    assert not any("hunter2" in violation.description for violation in found)


@pytest.mark.thorough
@given(_documents)
def test_no_document_makes_the_check_fail(document: dict[str, Any]) -> None:
    assert wrong(document)


@pytest.mark.thorough
@given(_documents)
def test_unknown_keys_survive_the_way_through_a_struct(document: dict[str, Any]) -> None:
    struct = json_format.ParseDict(document, struct_pb2.Struct())
    back = from_struct(struct)
    assert json.loads(json_format.MessageToJson(to_struct(back))) == document
    assert not list(differences(document, back))


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan"), 2.0**80])
def test_numbers_that_json_does_not_have_are_refused(number: float) -> None:
    struct = struct_pb2.Struct()
    struct.fields["odd"].number_value = number
    assert wrong(from_struct(struct)) == ["odd"]


def test_a_document_may_come_bare_or_in_an_envelope() -> None:
    assert bare(to_struct(EXAMPLE)) == bare(to_struct({"config": EXAMPLE})) == EXAMPLE


@pytest.mark.thorough
@given(_documents, _documents)
def test_differences_vanish_exactly_when_documents_are_equal(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert not list(differences(one, one))
    equal = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    if equal:
        assert not list(differences(one, other))
    elif not list(differences(one, other)):
        assert one == other  # 1 and 1.0 are the same number.


def test_differences_tell_place_and_values() -> None:
    found = list(differences(EXAMPLE, example(lan__ipaddr="10.0.0.2", lan__dhcp__start=1.5)))
    assert [(d.path, d.kind, d.before, d.after) for d in found] == [
        ("/lan/dhcp/start", "changed", 100, 1.5),
        ("/lan/ipaddr", "changed", "10.0.0.1", "10.0.0.2"),
    ]
    (added,) = differences({}, {"a/b~c": 1})
    assert (added.path, added.kind) == ("/a~1b~0c", "added")
    (changed,) = differences({"conntrack": "1"}, {"conntrack": 1})
    assert changed.kind == "changed"


def test_masked_keys_stand_for_those_that_are_there() -> None:
    first = {**AP, "encryption": "psk2", "key": "the first key"}
    second = {**AP, "ssid": "Guests", "encryption": "psk2", "key": "the second key"}
    present = example(wifi___interfaces=[first, second])
    shown = masked(present)
    assert "the first key" not in json.dumps(shown)
    assert unmasked(shown, present) == present
    moved = {**shown, "wifi-interfaces": shown["wifi-interfaces"][::-1]}
    assert unmasked(moved, present)["wifi-interfaces"] == [second, first]
    renamed = {**shown, "wifi-interfaces": [{**shown["wifi-interfaces"][0], "ssid": "New"}]}
    assert unmasked(renamed, present)["wifi-interfaces"][0]["key"] == "the first key"
    assert wrong(unmasked(shown, {})) == ["wifi-interfaces[0].key", "wifi-interfaces[1].key"]


@given(_documents)
def test_documents_without_masks_stay_as_they_are(document: dict[str, Any]) -> None:
    assert unmasked(document, EXAMPLE) == document


def link(name: str, **more: Any) -> LinkState:
    values = {"index": 1, "kind": "", "up": True, "mac": "02:00:00:00:00:01", "physical": True}
    return LinkState(name=name, **{**values, **more})


def radio(number: int, **more: Any) -> Radio:
    values = {"channels_2g": (1, 6, 11), "channels_5g": (36, 40, 149, 157), "ht": True, "vht": True}
    return Radio(
        phy=f"phy{number}", id=f"pci-wifi-{number}", mac="", interface=f"wlan{number}", **{**values, **more}
    )


def test_what_is_generated_is_valid_and_of_this_machine() -> None:
    links = {
        "eth0": link("eth0", addresses=(IPv4Interface("192.0.2.2/24"),)),
        "eth1": link("eth1"),
        "wlan0": link("wlan0", wireless=True),
        "docker0": link("docker0", physical=False, kind="bridge"),
    }
    document = generate(links, "eth0", [radio(0), radio(1), radio(2, channels_5g=(), vht=False)])
    assert violations(document) == []
    assert set(document) == set(EXAMPLE)
    assert document["lan"] == EXAMPLE["lan"]
    assert document["wan"] == EXAMPLE["wan"]
    assert document["wifi-interfaces"] == EXAMPLE["wifi-interfaces"]
    assert [(entry["id"], entry["hwmode"]) for entry in document["wifi"]] == [
        ("pci-wifi-0", "11a"),
        ("pci-wifi-1", "11g"),
        ("pci-wifi-2", "11g"),
    ]
    channels = [entry["channel"] for entry in document["wifi"]]
    assert channels[0] in (36, 40, 149, 157)
    assert channels[1] != channels[2]


def test_a_machine_without_uplink_and_radio_has_a_document_as_well() -> None:
    document = generate({"eth0": link("eth0")}, None, [])
    assert violations(document) == []
    assert "wan" not in document
    assert document["lan"]["interfaces"] == ["eth0"]
    assert (document["wifi-interfaces"], document["system"]["onMissingWiFi"]) == ([], None)


def test_a_radio_without_a_channel_to_send_on_gets_no_access_point() -> None:
    mute = radio(0, channels_2g=(), channels_5g=())
    document = generate({"eth0": link("eth0")}, "eth0", [mute])
    assert violations(document) == []
    assert (document["wifi"], document["wifi-interfaces"]) == ([], [])
    assert generate({}, None, [mute, radio(1)])["wifi-interfaces"][0]["device"] == "pci-wifi-1"
