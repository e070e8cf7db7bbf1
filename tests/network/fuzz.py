"""Feeds what atheris makes up to every parser of what daemons, files and the kernel say.

    python tests/network/fuzz.py SEEDS ...

The first byte chooses the parser. Whatever comes is read, passed over, or refused with a reason.
"""

import contextlib
import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[2] / "build" / "gen")]

with atheris.instrument_imports(include=["services.network.domain", "services.network.adapters"]):
    from services.common.errors import DomainError
    from services.network.adapters import nl80211_air, nl80211_decode, nl80211_radios
    from services.network.adapters.lease_files import parse_leases
    from services.network.domain import control_policy, hostapd_text
    from services.network.domain.uci import parse_uci
    from services.network.domain.uci_import import FILES, import_uci


def _hostapd(data: bytes) -> None:
    for key, value in hostapd_text.parse(data.decode(errors="replace")).items():
        assert isinstance(key, str)
        value.encode(errors="strict")
    control_policy.without_secrets(data)


def _leases(data: bytes) -> None:
    for lease in parse_leases(data.decode(errors="replace")):
        assert lease.expires_s >= 0
        assert len(lease.mac) == 17


def _uci(data: bytes) -> None:
    text = data.decode(errors="replace")
    assert all(section.type for section in parse_uci(text))
    document, _ = import_uci(dict.fromkeys(FILES, text), {"firewall": {}, "lan": {}, "system": {}})
    assert {"firewall", "lan", "system"} <= document.keys()


def _commands(data: bytes) -> None:
    control_policy.check_command(data)


def _kernel(data: bytes) -> None:
    nl80211_decode.station(data)
    nl80211_decode.interface(data)
    nl80211_air.survey(data)
    nl80211_air.heard(data)
    nl80211_radios.wiphys([data])


PARSERS = (_hostapd, _leases, _uci, _commands, _kernel)


def one(data: bytes) -> None:
    """Tries one input."""
    if data:
        with contextlib.suppress(DomainError):
            PARSERS[data[0] % len(PARSERS)](data[1:])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
