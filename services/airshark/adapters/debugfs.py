"""The files with which Atheros drivers are told to sample the spectrum, and give the samples."""

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

DEBUGFS = Path("/sys/kernel/debug")
SYSFS = Path("/sys")
ARPHRD_ETHER = 1
READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Driver:
    """How one driver differs from the others."""

    name: str
    full_bytes: int
    """When one drain gives this much, the relay buffer was full: it discards what is new and counts
    nothing."""
    has_period: bool
    has_bins: bool
    bin_counts: tuple[int, ...] = ()


DRIVERS = (
    # 256 sub-buffers of 1024 bytes that hold whole records only: 6 of HT40 is the least that a full one has.
    Driver("ath9k", 256 * 6 * 155, has_period=True, has_bins=False),
    Driver("ath9k_htc", 256 * 6 * 155, has_period=True, has_bins=False),
    # 256 of 1024 bytes in old kernels, 2500 of 1140 in new ones; the smaller is the cautious limit.
    Driver("ath10k", 256 * 3 * 285, has_period=False, has_bins=True, bin_counts=(64, 128, 256)),
    Driver("ath11k", 2870 * 22, has_period=False, has_bins=True, bin_counts=(32, 64, 128, 256, 512)),
)


class RadioMissing(Exception):
    """There is no such radio, or its driver cannot sample; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Radio:
    """The files of one radio. Everything here blocks."""

    phy: str
    driver: Driver
    folder: Path
    sysfs: Path = SYSFS

    @classmethod
    def find(cls, phy: str, debugfs: Path = DEBUGFS, sysfs: Path = SYSFS) -> "Radio":
        """Returns the radio of that name or raises `RadioMissing`."""
        base = debugfs / "ieee80211" / phy
        for driver in DRIVERS:
            folder = base / driver.name
            if (folder / "spectral_scan_ctl").exists():
                return cls(phy, driver, folder, sysfs)
        if not base.exists():
            raise RadioMissing(
                f"There is no radio {phy} in {debugfs}; check its name, that debugfs is mounted and that "
                "the node may read it (it needs root)."
            )
        raise RadioMissing(
            f"The driver of {phy} cannot sample the spectrum; it must be ath9k, ath9k_htc, ath10k or "
            "ath11k, built with spectral scan."
        )

    def write(self, control: str, value: str) -> None:
        """Writes a control file such as "spectral_count"."""
        (self.folder / control).write_text(value)

    def mode(self) -> str:
        """Returns in which mode the driver is, such as "background" or "disable"."""
        return (self.folder / "spectral_scan_ctl").read_text().strip().strip("\0")

    def arm(self) -> None:
        """Lets it sample without end on the present channel. After a retune or a restart it must be told
        anew."""
        self.write("spectral_scan_ctl", "background")
        self.write("spectral_scan_ctl", "trigger")

    def disable(self) -> None:
        """Ends sampling; a radio that has gone is ended already."""
        with suppress(OSError):
            self.write("spectral_scan_ctl", "disable")

    def open(self) -> "Relay":
        """Opens the file of samples."""
        return Relay(self.folder / "spectral_scan0")

    def interfaces(self) -> dict[str, bool]:
        """Returns the radio's interfaces and whether each carries a network."""
        folder = self.sysfs / "class" / "ieee80211" / self.phy / "device" / "net"
        found = {}
        with suppress(OSError):
            for interface in sorted(folder.iterdir()):
                found[interface.name] = _serves(interface)
        return found


def _serves(interface: Path) -> bool:
    try:
        kind = int((interface / "type").read_text())
        state = (interface / "operstate").read_text().strip()
    except (OSError, ValueError):
        return False
    return kind == ARPHRD_ETHER and state == "up"


class Relay:
    """The file of samples, opened so that reading never waits. Everything here blocks a little."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        # A read that was given up goes on in its thread; its descriptor must not become another file
        # meanwhile.
        self._lock = threading.Lock()
        self._closed = False

    def drain(self) -> bytes:
        """Reads what is there. The kernel gives 0 bytes when there is nothing, other files an error."""
        pieces = []
        with self._lock:
            while not self._closed:
                try:
                    piece = os.read(self._descriptor, READ_BYTES)
                except BlockingIOError:
                    break
                if not piece:
                    break
                pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._descriptor)
