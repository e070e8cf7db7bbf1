"""Writes hostapd's configuration for one access point.

Each value is checked here once more: whatever reaches a line is of a form that cannot begin another line, and
texts of users are written in hexadecimal where hostapd reads it so.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from services.common.errors import InvalidArgument
from services.network.domain.access_points import AccessPointConfig, Bss, RadioConfig, RadiusServer

INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
COUNTRY = re.compile(r"[A-Z]{2}")
HEX_KEY = re.compile(r"[0-9a-fA-F]{64}")
PRINTABLE = re.compile(r"[\x20-\x7e]+")
MAX_SSID_BYTES = 32
HW_MODES = {"11a": "a", "11b": "b", "11g": "g"}

_PSK, _SAE, _EAP = "WPA-PSK WPA-PSK-SHA256", "SAE", "WPA-EAP WPA-EAP-SHA256"
SECURITY: dict[str, tuple[int, str, str, int]] = {
    # wpa, key management, pairwise ciphers, protection of management frames.
    "none": (0, "", "", 0),
    "psk": (1, "WPA-PSK", "TKIP CCMP", 0),
    "psk2": (2, _PSK, "CCMP", 1),
    "psk-mixed": (3, "WPA-PSK", "TKIP CCMP", 0),
    "sae": (2, _SAE, "CCMP", 2),
    "sae-mixed": (2, f"{_PSK} {_SAE}", "CCMP", 1),
    "wpa": (1, "WPA-EAP", "TKIP CCMP", 0),
    "wpa2": (2, _EAP, "CCMP", 1),
    "wpa-mixed": (3, "WPA-EAP", "TKIP CCMP", 0),
    "wpa3": (2, "WPA-EAP-SHA256", "CCMP", 2),
}


def render(config: AccessPointConfig, control_dir: Path, driver: str = "nl80211") -> bytes:
    """Returns the configuration file, or raises InvalidArgument (ACCESS_POINT_INVALID) naming the field."""
    lines = [f"{key}={value}" for key, value in _settings(config, control_dir, driver)]
    for line in lines:
        if not PRINTABLE.fullmatch(line):
            raise _invalid("interface", "A setting holds characters that may not be in a configuration.")
    return ("\n".join(lines) + "\n").encode("ascii")


def _settings(config: AccessPointConfig, control_dir: Path, driver: str) -> Iterator[tuple[str, object]]:
    yield "interface", _interface(config.interface, "interface")
    if config.bridge:
        yield "bridge", _interface(config.bridge, "bridge")
    yield "driver", driver
    yield "ctrl_interface", control_dir
    bss = config.bss
    yield "ssid2", ssid_value(bss.ssid)
    yield "utf8_ssid", 1
    yield "ignore_broadcast_ssid", 1 if bss.hidden else 0
    yield "ap_isolate", int(bss.isolate)
    if bss.max_stations is not None:
        yield "max_num_sta", _number(bss.max_stations, 0, 2007, "maxassoc")
        yield "no_probe_resp_if_max_sta", 1
    yield "macaddr_acl", 0
    yield "bss_transition", 1
    yield "wmm_enabled", 1
    if driver == "nl80211":
        yield from _radio(config.radio)
    yield from _security(bss)
    yield from _radius(bss)


def ssid_value(ssid: str) -> str:
    """Returns an SSID in hexadecimal, or raises InvalidArgument (SSID_INVALID)."""
    try:
        data = ssid.encode()
    except UnicodeEncodeError:
        data = b""
    if not 1 <= len(data) <= MAX_SSID_BYTES or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in ssid):
        raise InvalidArgument(
            f"An SSID has 1 to {MAX_SSID_BYTES} bytes of UTF-8 and no control characters.",
            reason="SSID_INVALID",
            field="ssid",
        )
    return data.hex()


def _radio(radio: RadioConfig) -> Iterator[tuple[str, object]]:
    if radio.country is not None:
        if not COUNTRY.fullmatch(radio.country):
            raise _invalid("country", "A country has two capital letters, such as US.")
        yield "country_code", radio.country
        yield "ieee80211d", 1
        if radio.hwmode == "11a":
            yield "ieee80211h", 1
    yield "hw_mode", HW_MODES[radio.hwmode]
    yield "channel", _number(radio.channel, 1, 196, "channel")
    for key, value, low, high in (
        ("beacon_int", radio.beacon_int_tu, 15, 65535),
        ("rts_threshold", radio.rts_bytes, 0, 65535),
        ("fragm_threshold", radio.frag_bytes, 256, 2346),
    ):
        if value is not None:
            yield key, _number(value, low, high, key)
    yield "preamble", 1
    yield from _high_throughput(radio)


def _high_throughput(radio: RadioConfig) -> Iterator[tuple[str, object]]:
    match = re.fullmatch(r"NONE|(HT|VHT)(20|40|80|160)?([+-])?", radio.htmode)
    if match is None:
        raise _invalid("htmode", "htmode is NONE, HT20, HT40+, HT40-, VHT20, VHT40, VHT80 or VHT160.")
    if match[1] is None:
        return
    vht, width = match[1] == "VHT", int(match[2] or 20)
    yield "ieee80211n", 1
    words = []
    if width >= 40:
        words.append(f"HT40{match[3] or _secondary(radio)}")
    words += ["LDPC"] * radio.ldpc + ["SHORT-GI-20"] * radio.short_gi_20
    words += ["SHORT-GI-40"] * (radio.short_gi_40 and width >= 40)
    words += ["TX-STBC"] * bool(radio.tx_stbc) + (
        [f"RX-STBC{'123'[: min(radio.rx_stbc, 3)]}"] if radio.rx_stbc else []
    )
    if words:
        yield "ht_capab", "".join(f"[{word}]" for word in words)
    if not vht:
        return
    yield "ieee80211ac", 1
    yield "vht_oper_chwidth", {80: 1, 160: 2}.get(width, 0)
    if width >= 80:
        yield "vht_oper_centr_freq_seg0_idx", _centre(radio.channel, width)
    words = ["RXLDPC"] * radio.ldpc + ["SHORT-GI-80"] * (radio.short_gi_80 and width >= 80)
    words += ["TX-STBC-2BY1"] * bool(radio.tx_stbc) + ["RX-STBC-1"] * bool(radio.rx_stbc)
    if words:
        yield "vht_capab", "".join(f"[{word}]" for word in words)


def _secondary(radio: RadioConfig) -> str:
    """Returns on which side the second half of 40 MHz lies: the pairs of 5 GHz are fixed."""
    if radio.hwmode != "11a":
        return "+" if radio.channel <= 7 else "-"
    first = 36 if radio.channel < 149 else 149
    return "+" if (radio.channel - first) // 4 % 2 == 0 else "-"


def _centre(channel: int, width: int) -> int:
    """Returns the middle channel of the block of 80 or 160 MHz that holds a channel."""
    count = width // 20
    first = 36 if channel < 149 else 149
    block = (channel - first) // (4 * count)
    return first + block * 4 * count + 2 * (count - 1)


def _security(bss: Bss) -> Iterator[tuple[str, object]]:
    wpa, key_management, ciphers, protection = SECURITY[bss.encryption]
    yield "wpa", wpa
    yield "auth_algs", 1
    if not wpa:
        return
    yield "wpa_key_mgmt", key_management
    if wpa & 1:
        yield "wpa_pairwise", ciphers
    if wpa & 2:
        yield "rsn_pairwise", ciphers
    yield "ieee80211w", protection
    if "EAP" in key_management:
        if bss.auth_server is None:
            raise _invalid("auth_server", f"Encryption {bss.encryption} needs a RADIUS server.")
        yield "ieee8021x", 1
        return
    key = bss.key or ""
    if "SAE" in key_management:
        if HEX_KEY.fullmatch(key):
            raise _invalid("key", "WPA3 needs a passphrase of 8 to 63 characters, not a key in hexadecimal.")
        yield "sae_password", _passphrase(key)
        yield "sae_require_mfp", 1
    if "PSK" in key_management:
        if HEX_KEY.fullmatch(key):
            yield "wpa_psk", key
        else:
            yield "wpa_passphrase", _passphrase(key)


def _passphrase(key: str) -> str:
    # hostapd takes a passphrase as the rest of its line: only a control character could end it early. A "|"
    # begins options of a SAE password.
    if not 8 <= len(key) <= 63 or not PRINTABLE.fullmatch(key) or "|" in key:
        raise _invalid(
            "key", "A key has 8 to 63 printable ASCII characters without '|', or 64 hexadecimal digits."
        )
    return key


def _radius(bss: Bss) -> Iterator[tuple[str, object]]:
    if bss.nasid is not None:
        yield "nas_identifier", _text(bss.nasid, 48, "nasid")
    for name, server in (("auth", bss.auth_server), ("acct", bss.acct_server)):
        if server is not None:
            yield from _server(name, server)
    if bss.acct_server is not None and bss.acct_interval_s is not None:
        yield "radius_acct_interim_interval", _number(bss.acct_interval_s, 60, 600, "acct_interval")


def _server(name: str, server: RadiusServer) -> Iterator[tuple[str, object]]:
    try:
        address = ip_address(server.address)
    except ValueError:
        raise _invalid(f"{name}_server", "A RADIUS server is given by its IP address.") from None
    yield f"{name}_server_addr", address
    yield f"{name}_server_port", _number(server.port, 1, 65535, f"{name}_port")
    yield f"{name}_server_shared_secret", _text(server.secret, 128, f"{name}_secret")


def _text(value: str, longest: int, field: str) -> str:
    if not 1 <= len(value) <= longest or not PRINTABLE.fullmatch(value) or value != value.strip():
        raise _invalid(field, f"{field} has 1 to {longest} printable ASCII characters.")
    return value


def _interface(name: str, field: str) -> str:
    if not INTERFACE.fullmatch(name):
        raise _invalid(field, "The name of an interface has 1 to 15 letters, digits, '.', '_' and '-'.")
    return name


def _number(value: int, low: int, high: int, field: str) -> int:
    if not low <= value <= high:
        raise _invalid(field, f"{field} is a number from {low} to {high}.")
    return value


def _invalid(field: str, message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="ACCESS_POINT_INVALID", field=field)
