"""A short run of the fuzzer from real texts on; more of it: see tests/network/fuzz.py."""

from pathlib import Path

import pytest

from tests.network.test_uci import TEXTS
from tests.support.fuzzing import fuzz

pytestmark = pytest.mark.thorough

REPLIES = (
    'state=ENABLED\nphy=phy0\nfreq=2462\nbss[0]=vwlan7e1b\nssid[0]=Caf\\xc3\\xa9 \\"2\\"\nnum_sta[0]=1\n',
    "FAIL\n",
    "<3>AP-STA-CONNECTED 02:00:00:00:01:00 keyid=x",
    "bssid=02:00:08:24:03:dd\nssid=Free WiFi\nwpa=2\npassphrase=a secret key\n",
)
LEASES = (
    "1511816276 5c:59:48:7d:b9:e6 192.168.128.64 paradrops-iPod 01:5c:59:48:7d:b9:e6\n"
    "1 02:00:00:00:00:01 10.0.0.1\n"
)
COMMANDS = ("PING", "SET ssid x", "DEAUTHENTICATE 02:00:00:00:01:00")


def test_nothing_that_a_fuzzer_makes_up_hurts(tmp_path: Path) -> None:
    texts = [(0, reply) for reply in REPLIES] + [(1, LEASES)]
    texts += [(2, text) for text in TEXTS.values()] + [(3, command) for command in COMMANDS]
    seeds = {str(number): bytes([parser]) + text.encode() for number, (parser, text) in enumerate(texts)}
    fuzz(Path(__file__).with_name("fuzz.py"), seeds, tmp_path, max_len=3000)
