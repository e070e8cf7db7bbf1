"""hostapd's configuration: every value that a user can choose stays one value on one line."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidArgument
from services.network.adapters.hostapd_config import render
from services.network.domain.access_points import (
    ENCRYPTIONS,
    AccessPointConfig,
    Bss,
    RadioConfig,
    RadiusServer,
)

CONTROL = Path("/run/control")
PHY0 = RadioConfig("phy0", channel=11)
RADIUS = RadiusServer("192.0.2.1", 1812, "s3cret")


def lines(**changes: Any) -> dict[str, str]:
    where = {"interface": "vwlan7e1b", "radio": PHY0, "bridge": None}
    where |= {name: changes.pop(name) for name in where.keys() & changes.keys()}
    config = AccessPointConfig(**where, bss=Bss(**{"ssid": "Free WiFi", **changes}))
    return dict(line.split("=", 1) for line in render(config, CONTROL).decode().splitlines())


def field_of(**changes: Any) -> str | None:
    with pytest.raises(InvalidArgument) as raised:
        lines(**changes)
    return raised.value.field


def test_an_open_network() -> None:
    written = lines()
    assert written["ssid2"] == b"Free WiFi".hex()
    assert (written["interface"], written["ctrl_interface"]) == ("vwlan7e1b", "/run/control")
    assert (written["hw_mode"], written["channel"], written["wpa"]) == ("g", "11", "0")
    assert "wpa_passphrase" not in written


@pytest.mark.parametrize(
    ("encryption", "wpa", "management", "protection"),
    [
        ("psk", "1", {"WPA-PSK"}, "0"),
        ("psk2", "2", {"WPA-PSK", "WPA-PSK-SHA256"}, "1"),
        ("psk-mixed", "3", {"WPA-PSK"}, "0"),
        ("sae", "2", {"SAE"}, "2"),
        ("sae-mixed", "2", {"WPA-PSK", "WPA-PSK-SHA256", "SAE"}, "1"),
    ],
)
def test_encryption_with_a_key(encryption: Any, wpa: str, management: set[str], protection: str) -> None:
    written = lines(encryption=encryption, key='pass "word" \\1')
    assert written["wpa"] == wpa
    assert set(written["wpa_key_mgmt"].split()) == management
    assert written["ieee80211w"] == protection
    for name, present in (("sae_password", "SAE" in management), ("wpa_passphrase", "WPA-PSK" in management)):
        assert written.get(name) == ('pass "word" \\1' if present else None)


@pytest.mark.parametrize("encryption", ["wpa", "wpa2", "wpa-mixed", "wpa3"])
def test_enterprise_encryption_asks_a_radius_server(encryption: Any) -> None:
    written = lines(
        encryption=encryption, auth_server=RADIUS, acct_server=RADIUS, acct_interval_s=300, nasid="n1"
    )
    assert written["ieee8021x"] == "1"
    assert written["auth_server_addr"] == "192.0.2.1"
    assert written["auth_server_shared_secret"] == "s3cret"
    assert written["acct_server_port"] == "1812"
    assert written["radius_acct_interim_interval"] == "300"
    assert field_of(encryption=encryption) == "auth_server"


def test_options_of_a_network() -> None:
    written = lines(hidden=True, isolate=True, max_stations=7, bridge="br-lan")
    assert (written["ignore_broadcast_ssid"], written["ap_isolate"]) == ("1", "1")
    assert (written["max_num_sta"], written["bridge"]) == ("7", "br-lan")


def test_a_key_in_hexadecimal_is_a_key_and_not_a_passphrase() -> None:
    written = lines(encryption="psk2", key="ab" * 32)
    assert written["wpa_psk"] == "ab" * 32
    assert "wpa_passphrase" not in written
    assert field_of(encryption="sae", key="ab" * 32) == "key"


@pytest.mark.parametrize(
    ("radio", "expected"),
    [
        (RadioConfig("p", "11a", 36, "VHT80"), {"vht_oper_centr_freq_seg0_idx": "42", "ht_capab": "[HT40+]"}),
        (
            RadioConfig("p", "11a", 157, "VHT80"),
            {"vht_oper_centr_freq_seg0_idx": "155", "vht_oper_chwidth": "1"},
        ),
        (RadioConfig("p", "11a", 44, "HT40-"), {"ht_capab": "[HT40-]", "ieee80211n": "1"}),
        (RadioConfig("p", "11g", 6, "HT20", short_gi_20=True), {"ht_capab": "[SHORT-GI-20]"}),
        (RadioConfig("p", "11g", 6, "NONE", country="DE"), {"country_code": "DE", "ieee80211d": "1"}),
    ],
)
def test_radios(radio: RadioConfig, expected: dict[str, str]) -> None:
    written = lines(radio=radio)
    assert expected.items() <= written.items()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ssid": ""}, "ssid"),
        ({"ssid": "é" * 17}, "ssid"),
        ({"ssid": "a\nwpa=0"}, "ssid"),
        ({"ssid": "\ud800"}, "ssid"),
        ({"encryption": "psk2"}, "key"),
        ({"encryption": "psk2", "key": "short"}, "key"),
        ({"encryption": "psk2", "key": "password\nctrl_interface=/tmp"}, "key"),
        ({"encryption": "sae", "key": "password|mac=ff"}, "key"),
        ({"interface": "wlan0\nbridge=br0"}, "interface"),
        ({"interface": "x" * 16}, "interface"),
        ({"bridge": "../x"}, "bridge"),
        ({"max_stations": 5000}, "maxassoc"),
        ({"radio": RadioConfig("p", country="d\n")}, "country"),
        ({"radio": RadioConfig("p", htmode="HT20\n")}, "htmode"),
        ({"radio": RadioConfig("p", channel=0)}, "channel"),
        ({"nasid": "a\nb"}, "nasid"),
        ({"encryption": "wpa2", "auth_server": RadiusServer("a\nb", 1, "s")}, "auth_server"),
        ({"encryption": "wpa2", "auth_server": RadiusServer("::1", 1, "s\n")}, "auth_secret"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], field: str) -> None:
    assert field_of(**changes) == field


@given(
    ssid=st.text(max_size=40),
    key=st.text(max_size=70) | st.none(),
    encryption=st.sampled_from(ENCRYPTIONS),
    nasid=st.text(max_size=50) | st.none(),
    secret=st.text(max_size=130),
    address=st.text(max_size=20) | st.just("192.0.2.7"),
    bridge=st.text(max_size=16) | st.none(),
)
def test_no_text_reaches_a_line_of_its_own(
    ssid: str,
    key: str | None,
    encryption: Any,
    nasid: str | None,
    secret: str,
    address: str,
    bridge: str | None,
) -> None:
    server = RadiusServer(address, 1812, secret)
    bss = Bss(ssid, encryption, key, nasid=nasid, auth_server=server)
    config = AccessPointConfig("vwlan0001", PHY0, bss, bridge)
    bss = Bss("x", encryption, "12345678", nasid="n", auth_server=RADIUS)
    plain = AccessPointConfig("vwlan0001", PHY0, bss, "br0")
    try:
        written = render(config, CONTROL).decode("ascii")
    except InvalidArgument:
        return
    names = [line.partition("=")[0] for line in written.splitlines()]
    expected = [line.partition("=")[0] for line in render(plain, CONTROL).decode().splitlines()]
    assert set(names) <= {*expected, "wpa_psk"}
    assert len(names) == len(set(names))
    assert bytes.fromhex(dict(line.split("=", 1) for line in written.splitlines())["ssid2"]).decode() == ssid
    assert re.fullmatch(r"[\x20-\x7e\n]*", written)
