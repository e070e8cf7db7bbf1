"""A radio's debugfs and sysfs as folders of real files, with a relay file that behaves as the kernel's
does."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

RELAY_BYTES = 256 * 1024
F_SETPIPE_SZ = 1031
ETHERNET, MONITOR = 1, 803


class Relay:
    """A FIFO in the place of spectral_scan0: nothing is overwritten, what does not fit is lost, empty
    reads give 0."""

    def __init__(self, path: Path) -> None:
        self._path = path
        os.mkfifo(path)
        # Somebody must hold it open, or the pipe forgets what is in it when the reader has gone.
        self._hold = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self._hold, F_SETPIPE_SZ, RELAY_BYTES)
        self.lost_records = 0

    def write(self, record: bytes, count: int = 1) -> None:
        """Writes records as a driver does; those for which there is no room are lost."""
        # Opened for each write: with no writer left, a reader of an empty FIFO gets 0 bytes instead of
        # EAGAIN.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            for _ in range(count):
                try:
                    os.write(descriptor, record)
                except BlockingIOError:
                    self.lost_records += 1
        finally:
            os.close(descriptor)

    def close(self) -> None:
        os.close(self._hold)


class FakeRadio:
    """The files of one radio."""

    def __init__(self, folder: Path, phy: str = "phy0", driver: str = "ath9k") -> None:
        self.debugfs = folder / "debug"
        self.sysfs = folder / "sys"
        self.folder = self.debugfs / "ieee80211" / phy / driver
        self.folder.mkdir(parents=True)
        self._net = self.sysfs / "class" / "ieee80211" / phy / "device" / "net"
        self._net.mkdir(parents=True)
        for name in ("spectral_scan_ctl", "spectral_count", "spectral_period", "spectral_short_repeat"):
            (self.folder / name).write_text("")
        (self.folder / "spectral_bins").write_text("")
        self.relay = Relay(self.folder / "spectral_scan0")

    def add_interface(self, name: str, kind: int, state: str) -> None:
        """Adds a network interface of the radio."""
        folder = self._net / name
        folder.mkdir()
        (folder / "type").write_text(f"{kind}\n")
        (folder / "operstate").write_text(f"{state}\n")

    def read(self, control: str) -> str:
        """Returns what was written last."""
        return (self.folder / control).read_text()

    def unplug(self) -> None:
        """Lets the radio go, as a USB stick does."""
        for path in self.folder.iterdir():
            with suppress(OSError):
                path.unlink()
        self.folder.rmdir()
        self.folder.parent.rmdir()
