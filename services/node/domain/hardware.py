"""What the node is made of."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class Radio:
    """A Wi-Fi card and what its driver tells about it."""

    slot: str
    """Where it sits, such as "pci/0000:04:00.0"."""
    phy: str
    """Name in the kernel, such as "phy0"."""
    mac: str
    vendor_id: str = ""
    """In hexadecimal, such as "0x168c"; empty if unknown."""
    device_id: str = ""
    driver: str = ""
    interfaces: Sequence[str] = ()
    spectral: bool = False
    """Whether the driver offers spectral samples."""
    id: str = ""
    """Name that the host configuration knows it by, such as "pci-wifi-0"."""

    @property
    def bus(self) -> str:
        """Returns "pci", "usb" or "other"."""
        bus = self.slot.partition("/")[0]
        return bus if bus in ("pci", "usb") else "other"


@dataclass(frozen=True, slots=True)
class Hardware:
    """The board and its radios."""

    vendor: str | None
    board: str
    """Name and version, divided by a blank; only the blank if unknown."""
    cpu: str
    memory_bytes: int
    radios: Sequence[Radio] = ()


@dataclass(frozen=True, slots=True)
class Software:
    """The versions of what runs; None where unknown."""

    bios_vendor: str | None
    bios_version: str | None
    bios_date: str | None
    os_version: str | None
    kernel_version: str | None
    pd_version: str | None


def with_ids(radios: Iterable[Radio]) -> list[Radio]:
    """Names radios by bus and by their order on it, so that a name stays as long as nothing is plugged in."""
    numbers: dict[str, int] = {}
    named = []
    for radio in sorted(radios, key=lambda radio: (radio.bus, radio.slot)):
        number = numbers[radio.bus] = numbers.get(radio.bus, -1) + 1
        named.append(replace(radio, id=f"{radio.bus}-wifi-{number}"))
    return named


_SECRET_WORDS = ("PASS", "SECRET", "TOKEN", "CREDENTIAL", "AUTH", "PRIVATE", "APIKEY", "COOKIE", "SESSION")


def masked(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment with the values hidden that are secrets, by their names or by their form."""
    return {name: HIDDEN if _is_secret(name, value) else value for name, value in environment.items()}


def _is_secret(name: str, value: str) -> bool:
    name = name.upper()
    if any(word in name for word in _SECRET_WORDS) or name.split("_")[-1] in ("KEY", "KEYS", "PWD"):
        return name != "PWD"
    # An address with a password in it, such as that of a proxy.
    return "://" in value and "@" in value.partition("://")[2].partition("/")[0]
