"""What nl80211 tells, read from attributes as the kernel lays them out, and the texts made of it."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import FailedPrecondition, InvalidArgument
from services.network.adapters import nl80211_air, nl80211_radios
from services.network.adapters import nl80211_decode as decode
from services.network.adapters.netlink_attributes import attribute, attributes
from services.network.adapters.nl80211 import Nl80211
from services.network.domain.station_text import station_texts
from services.network.domain.stations import channel_number, normal_mac

MAC = bytes.fromhex("5c59487db9e6")
FLAGS = 1 << 1 | 1 << 3 | 1 << 5 | 1 << 7
"""Authorised, WMM, authenticated, associated."""
RATE = [attribute(5, 1444), attribute(1, struct.pack("=H", 1444)), attribute(2, b"\x0f"), attribute(4, b"")]
STATION = attribute(decode.MAC, MAC) + attribute(
    decode.STA_INFO,
    [
        attribute(1, 4688),
        attribute(2, 0xFFFFFFFF),
        attribute(23, struct.pack("=Q", 5_000_000_000)),
        attribute(3, 100),
        attribute(7, struct.pack("b", -45)),
        attribute(25, [attribute(0, struct.pack("b", -49)), attribute(1, struct.pack("b", -48))]),
        attribute(13, struct.pack("b", -46)),
        attribute(8, RATE),
        attribute(14, [attribute(1, struct.pack("=H", 10))]),
        attribute(17, struct.pack("=II", FLAGS | 1 << 2 | 1 << 4 | 1 << 6, FLAGS)),
        attribute(15, [attribute(3, b""), attribute(4, b"\x02"), attribute(5, struct.pack("=H", 100))]),
        attribute(16, 302),
        attribute(27, 46875),
    ],
)


def test_the_texts_of_the_documentation() -> None:
    station = decode.station(STATION)
    assert station is not None
    assert station_texts(station) == {
        "mac_addr": "5c:59:48:7d:b9:e6",
        "inactive_time": "4688 ms",
        "rx_bytes": "5000000000",
        "tx_bytes": "100",
        "signal": "-45 [-49, -48] dBm",
        "signal_avg": "-46 dBm",
        "tx_bitrate": "144.4 MBit/s MCS 15 short GI",
        "rx_bitrate": "1.0 MBit/s",
        "expected_throughput": "46.875Mbps",
        "authorized": "yes",
        "authenticated": "yes",
        "associated": "yes",
        "preamble": "long",
        "wmm_wme": "yes",
        "mfp": "no",
        "tdls_peer": "no",
        "dtim_period": "2",
        "beacon_interval": "100",
        "short_slot_time": "yes",
        "connected_time": "302 seconds",
    }


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([], "(unknown)"),
        ([attribute(5, 4333), attribute(6, b"\x09"), attribute(7, b"\x01"), attribute(8, b""),
          attribute(4, b"")],
         "433.3 MBit/s VHT-MCS 9 80MHz short GI VHT-NSS 1"),
        ([attribute(5, 12010), attribute(13, b"\x0b"), attribute(14, b"\x02"), attribute(15, b"\x00"),
          attribute(16, b"\x00"), attribute(8, b"")],
         "1201.0 MBit/s 80MHz HE-MCS 11 HE-NSS 2 HE-GI 0 HE-DCM 0"),
        ([attribute(5, 1350), attribute(2, b"\x07"), attribute(3, b"")], "135.0 MBit/s MCS 7 40MHz"),
    ],
)  # fmt: skip
def test_rates(parts: list[bytes], text: str) -> None:
    data = attribute(decode.MAC, MAC) + attribute(decode.STA_INFO, [attribute(8, parts)])
    station = decode.station(data)
    assert station is not None
    assert station_texts(station)["tx_bitrate"] == text


def test_an_access_point_that_was_heard() -> None:
    rsn = bytes.fromhex("0100000fac040100000fac040200000fac02000fac080000")
    elements = b"\x00\x04Free" + bytes([48, len(rsn)]) + rsn + b"\x0b\x05\x03\x00\x80\x00\x00"
    bss = [
        attribute(1, MAC),
        attribute(2, 2462),
        attribute(4, struct.pack("=H", 100)),
        attribute(5, struct.pack("=H", 0x11)),
        attribute(6, elements),
        attribute(7, struct.pack("=i", -3000)),
        attribute(10, 12),
    ]
    heard = nl80211_air.heard(attribute(nl80211_air.BSS, bss))
    assert heard is not None
    assert (heard.bssid, heard.ssid, heard.signal_dbm, heard.security) == (
        MAC.hex(":"),
        b"Free",
        -30.0,
        "wpa2-wpa3",
    )
    assert (heard.stations, heard.seen_ago_ms, round(heard.utilisation or 0, 2)) == (3, 12, 0.5)


def test_a_survey() -> None:
    info = [
        attribute(1, 2412),
        attribute(2, struct.pack("b", -92)),
        attribute(3, b""),
        attribute(4, struct.pack("=Q", 1000)),
        attribute(5, struct.pack("=Q", 250)),
    ]
    survey = nl80211_air.survey(attribute(nl80211_air.SURVEY_INFO, info))
    assert survey is not None
    assert (survey.noise_dbm, survey.in_use, survey.active_ms, survey.busy_ms) == (-92, True, 1000, 250)


@given(st.binary(max_size=400))
def test_whatever_comes_is_read_or_passed_over(data: bytes) -> None:
    for inner in (decode.STA_INFO, nl80211_air.SURVEY_INFO, nl80211_air.BSS, nl80211_radios.WIPHY_BANDS, 120):
        message = attribute(decode.MAC, MAC) + attribute(inner, data)
        decode.station(message)
        nl80211_air.survey(message)
        nl80211_air.heard(message)
        decode.interface(message)
        nl80211_radios.wiphys([message])
    station = decode.station(attribute(decode.MAC, MAC) + attribute(decode.STA_INFO, data))
    assert station is not None
    station_texts(station)


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=50)), max_size=10))
def test_attributes_come_back_as_they_were_written(pairs: list[tuple[int, bytes]]) -> None:
    assert list(attributes(b"".join(attribute(kind, value) for kind, value in pairs))) == pairs


@pytest.mark.parametrize(
    ("mhz", "number"),
    [(2412, 1), (2472, 13), (2484, 14), (5180, 36), (5825, 165), (5955, 1), (2413, 0), (900, 0)],
)
def test_channels(mhz: int, number: int) -> None:
    assert channel_number(mhz) == number


@given(st.text(max_size=30))
def test_only_addresses_are_addresses(text: str) -> None:
    try:
        mac = normal_mac(text)
    except InvalidArgument:
        return
    assert len(bytes.fromhex(mac.replace(":", ""))) == 6


def test_what_is_no_address_is_refused() -> None:
    for text in ("", "5c:59:48:7d:b9", "5c:59:48:7d:b9:e6:00", "5c:59:48:7d:b9:eg", "5c:59:48:7d:b9:e6\n;x"):
        with pytest.raises(InvalidArgument) as raised:
            normal_mac(text)
        assert raised.value.reason == "MAC_INVALID"


def test_an_address_is_put_in_one_form() -> None:
    assert normal_mac(" 5C-59-48-7D-B9-E6 ") == "5c:59:48:7d:b9:e6"


@pytest.mark.skipif(Path("/sys/class/ieee80211").exists(), reason="this kernel has wireless support")
async def test_a_kernel_without_wireless_support_is_an_honest_error() -> None:
    async with Nl80211.opened() as kernel:
        with pytest.raises(FailedPrecondition, match="load a driver") as raised:
            await kernel.capabilities()
        assert raised.value.reason == "NL80211_UNAVAILABLE"
