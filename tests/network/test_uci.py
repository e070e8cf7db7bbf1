"""Files in the form of UCI: read as they are written, refused with the line, and turned into a document."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from services.cli import main
from services.common.errors import InvalidArgument
from services.network.domain.hostcheck import violations
from services.network.domain.uci import UciSection, parse_uci
from services.network.domain.uci_import import FILES, import_uci
from tests.network.documents import EXAMPLE

NETWORK = """
config interface 'loopback' #__PARADROP__
\toption ifname 'lo'

config interface wan #__PARADROP__
\toption ifname 'eth0'
\toption proto 'dhcp'

config interface lan #__PARADROP__
\toption type 'bridge'
\toption proto 'static'
\toption ipaddr '10.0.0.1'
\toption netmask '255.255.255.0'
\tlist ifname 'eth1'
\tlist ifname 'eth2'

config interface guests #__PARADROP__
\toption ifname 'br-lan.7'
\toption proto 'static'
\toption ipaddr '10.7.0.1'
\toption netmask '255.255.255.0'

config interface vwlan7e1b #captive-portal
\toption ipaddr '192.168.128.1'
"""
WIRELESS = """
config wifi-device wifi04f0212fb7c1 #__PARADROP__
\toption macaddr '04:f0:21:2f:b7:c1'
\toption type 'auto'
\toption channel '11'
\toption hwmode '11g'
\toption short_gi_20 '1'

config wifi-iface #__PARADROP__
\toption device 'wifi04f0212fb7c1'
\toption ssid "It's \\"ours\\""
\toption encryption 'psk2+ccmp'
\toption key 'a secret key'
\toption hidden '1'
\toption network 'lan'
"""
DHCP = """
config dhcp lan #__PARADROP__
\toption interface 'lan'
\toption start '100'
\toption limit '50'
\toption leasetime '12h'
"""
FIREWALL = """
config defaults #__PARADROP__
\toption input 'ACCEPT'
\toption output 'ACCEPT'
\toption forward 'REJECT'

config zone #__PARADROP__
\toption name 'wan'
\toption masq '1'
\toption input 'DROP'

config forwarding #__PARADROP__
\toption src 'lan'
\toption dest 'wan'

config rule #__PARADROP__
\toption src 'wan'
\toption proto 'tcp'
\toption dest_port '22'
\toption target 'accept'

config redirect
\toption src 'wan'
"""
TEXTS = dict(zip(FILES, (NETWORK, WIRELESS, DHCP, FIREWALL), strict=True))


def test_a_node_of_old_becomes_a_host_configuration() -> None:
    found, left = import_uci(TEXTS, EXAMPLE)
    assert violations(found) == []
    assert found["lan"] == {
        "interfaces": ["eth1", "eth2"],
        "proto": "static",
        "ipaddr": "10.0.0.1",
        "netmask": "255.255.255.0",
        "dhcp": {"start": 100, "limit": 50, "leasetime": "12h"},
        "firewall": {"forwarding": [{"src": "lan", "dest": "wan"}]},
    }
    assert found["wan"] == {
        "interface": "eth0",
        "proto": "dhcp",
        "firewall": {"defaults": {"masq": "1", "input": "DROP"}},
    }
    (vlan,) = found["vlan-interfaces"]
    assert (vlan["name"], vlan["id"], vlan["ipaddr"]) == ("guests", 7, "10.7.0.1")
    assert found["wifi"] == [
        {
            "id": "wifi04f0212fb7c1",
            "macaddr": "04:f0:21:2f:b7:c1",
            "hwmode": "11g",
            "channel": 11,
            "short_gi_20": True,
        }
    ]
    assert found["wifi-interfaces"] == [
        {
            "device": "04:f0:21:2f:b7:c1",
            "mode": "ap",
            "ssid": 'It\'s "ours"',
            "network": "lan",
            "encryption": "psk2",
            "key": "a secret key",
            "hidden": True,
        }
    ]
    assert found["firewall"]["rules"] == [
        {"src": "wan", "proto": "tcp", "dest_port": "22", "target": "ACCEPT"}
    ]
    assert left == ["firewall.@redirect[4]: it has no place in a host configuration."]


def test_the_command_writes_a_document(tmp_path: Path) -> None:
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    done = CliRunner().invoke(main, ["import-uci", str(tmp_path)])
    assert done.exit_code == 0
    assert violations(yaml.safe_load(done.stdout)) == []
    assert "firewall.@redirect[4]" in done.stderr


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("network", "config interface lan\n\toption proto 'what'\n", "lan.proto must be one of"),
        ("wireless", "nonsense", "wireless, line 1: this is no line of UCI."),
        ("other", "", "has none of the files"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    done = CliRunner().invoke(main, ["import-uci", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("option a 'b'", 1),
        ("config x\n\toption a", 2),
        ("config x\n\toption a 'b' c", 2),
        ("config x\n\toption a 'b\nc'", 2),
        ('config x\n\n\toption a "b', 3),
        ("config ../x", 1),
        ("config a b c", 1),
        ("nonsense", 1),
        ("config x\n" + "#" * 300_000, 0),
    ],
)
def test_what_is_no_uci_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse_uci(text, "network")
    assert raised.value.reason == "UCI_INVALID"
    assert (raised.value.facts["file"], raised.value.facts["line"]) == ("network", str(line))


names = st.from_regex(r"\A[A-Za-z0-9_-]{1,20}\Z")
values = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=40)
sections = st.builds(
    UciSection,
    type=names,
    name=st.one_of(st.just(""), names),
    owner=st.one_of(st.just(""), names),
    options=st.dictionaries(names, values, max_size=4),
    lists=st.dictionaries(names, st.lists(values, min_size=1, max_size=3), max_size=3),
)


def written(section: UciSection) -> str:
    """Writes a section as 0.13 did, with quotes where they are needed."""
    lines = [f"config {section.type} {section.name}" + (f" #{section.owner}" if section.owner else "")]
    lines += [f"\toption {name} {quoted(value)}" for name, value in section.options.items()]
    lines += [f"\tlist {name} {quoted(v)}" for name, entries in section.lists.items() for v in entries]
    return "\n".join(lines) + "\n"


def quoted(value: str) -> str:
    if "'" not in value:
        return f"'{value}'"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@pytest.mark.thorough
@given(st.lists(sections, max_size=5))
def test_what_is_written_is_read_again(wanted: list[UciSection]) -> None:
    assert parse_uci("\n".join(map(written, wanted))) == wanted


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        sections = parse_uci(text)
    except InvalidArgument:
        return
    assert all(section.type for section in sections)


@pytest.mark.thorough
@given(
    st.dictionaries(
        st.sampled_from(FILES), st.lists(sections, max_size=4).map(lambda s: "\n".join(map(written, s)))
    )
)
def test_any_sections_become_a_document_or_are_left_out(texts: dict[str, str]) -> None:
    found, left = import_uci(texts, EXAMPLE)
    assert {"firewall", "lan", "system"} <= found.keys()
    assert all(sentence.endswith(".") for sentence in left)


def test_a_fixed_uplink_is_taken_over() -> None:
    text = NETWORK.replace(
        "\toption proto 'dhcp'",
        "\toption proto 'static'\n\toption ipaddr '203.0.113.7'\n\toption netmask '255.255.255.0'\n"
        "\toption gateway '203.0.113.1'",
    )
    found, left = import_uci({"network": text}, EXAMPLE)
    assert (violations(found), left) == ([], [])
    assert (found["wan"]["proto"], found["wan"]["ipaddr"]) == ("static", "203.0.113.7")
    assert found["wan"]["gateway"] == "203.0.113.1"
