"""Scans of trees that look like the kernel's, names of radios, and masked secrets."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from services.node.adapters.sysfs import read_software, scan_hardware
from services.node.domain.hardware import HIDDEN, Radio, masked, with_ids


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def board(root: Path) -> None:
    for name, text in {
        "sys_vendor": "PC Engines", "product_name": "APU", "product_version": "1.0",
        "bios_vendor": "coreboot", "bios_version": "4.0", "bios_date": "04/05/2014",
    }.items():  # fmt: skip
        write(root / "sys/class/dmi/id" / name, text + "\n")
    write(root / "etc/os-release", 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')


def pci_radio(root: Path, phy: str, slot: str, driver: str = "ath9k") -> None:
    device = root / "sys/devices/pci0000:00" / slot
    write(device / "vendor", "0x168c\n")
    write(device / "device", "0x003c\n")
    (device / "net" / f"wlan{phy[-1]}").mkdir(parents=True)
    for name in ("bus/pci", f"bus/pci/drivers/{driver}"):
        (root / "sys" / name).mkdir(parents=True, exist_ok=True)
    link(device / "subsystem", root / "sys/bus/pci")
    link(device / "driver", root / "sys/bus/pci/drivers" / driver)
    write(root / "sys/class/ieee80211" / phy / "macaddress", "04:F0:21:2F:B7:C1\n")
    link(root / "sys/class/ieee80211" / phy / "device", device)


def usb_radio(root: Path, phy: str) -> None:
    device = root / "sys/devices/usb1/1-1"
    write(device / "idVendor", "148f\n")
    write(device / "idProduct", "5370\n")
    interface = device / "1-1:1.0"
    interface.mkdir()
    (root / "sys/bus/usb").mkdir(parents=True, exist_ok=True)
    link(interface / "subsystem", root / "sys/bus/usb")
    write(root / "sys/class/ieee80211" / phy / "macaddress", "00:11:22:33:44:55\n")
    link(root / "sys/class/ieee80211" / phy / "device", interface)


def test_a_board_with_radios_is_told_as_documented(tmp_path: Path) -> None:
    board(tmp_path)
    pci_radio(tmp_path, "phy1", "0000:04:00.0")
    pci_radio(tmp_path, "phy0", "0000:05:00.0")
    usb_radio(tmp_path, "phy2")
    write(tmp_path / "sys/kernel/debug/ieee80211/phy1/ath9k/spectral_scan_ctl", "disable")
    found = scan_hardware(tmp_path)
    assert (found.vendor, found.board) == ("PC Engines", "APU 1.0")
    assert found.memory_bytes > 2**20
    assert found.radios == [
        Radio("pci/0000:04:00.0", "phy1", "04:f0:21:2f:b7:c1", "0x168c", "0x003c", "ath9k", ["wlan1"], True,
              "pci-wifi-0"),
        Radio("pci/0000:05:00.0", "phy0", "04:f0:21:2f:b7:c1", "0x168c", "0x003c", "ath9k", ["wlan0"], False,
              "pci-wifi-1"),
        Radio("usb/1-1:1.0", "phy2", "00:11:22:33:44:55", "0x148f", "0x5370", "", [], False, "usb-wifi-0"),
    ]  # fmt: skip
    software = read_software(tmp_path)
    assert (software.bios_vendor, software.bios_date) == ("coreboot", "04/05/2014")
    assert software.os_version == "Debian GNU/Linux 12 (bookworm)"


def test_a_board_that_tells_nothing_is_unknown(tmp_path: Path) -> None:
    found = scan_hardware(tmp_path)
    assert (found.vendor, found.board, found.radios) == (None, " ", [])
    assert read_software(tmp_path).bios_vendor is None


def test_a_board_without_a_bios_is_named_by_its_device_tree(tmp_path: Path) -> None:
    write(tmp_path / "proc/device-tree/model", "TP-Link Archer C7 v2\0")
    assert scan_hardware(tmp_path).board == "TP-Link Archer C7 v2"


@given(st.lists(st.from_regex(r"(pci|usb|other)/[0-9a-f]{1,4}", fullmatch=True), unique=True))
def test_names_of_radios_are_unique_and_follow_their_slots(slots: list[str]) -> None:
    named = with_ids(Radio(slot, "phy0", "") for slot in slots)
    assert len({radio.id for radio in named}) == len(slots)
    for bus in ("pci", "usb", "other"):
        on_bus = [radio for radio in named if radio.bus == bus]
        assert [radio.slot for radio in on_bus] == sorted(slot for slot in slots if slot.startswith(bus))
        assert [radio.id for radio in on_bus] == [f"{bus}-wifi-{n}" for n in range(len(on_bus))]


def test_secrets_of_an_environment_are_hidden() -> None:
    shown = masked(
        {
            "PARADROP_ADMIN_PASSWORD": "a", "API_TOKEN": "b", "AWS_SECRET_ACCESS_KEY": "c", "SSH_KEY": "d",
            "HTTPS_PROXY": "http://user:e@proxy", "PATH": "/bin", "PWD": "/", "KEYBOARD": "de",
            "URL": "http://host/a@b",
        }
    )  # fmt: skip
    assert {name for name, value in shown.items() if value == HIDDEN} == {
        "PARADROP_ADMIN_PASSWORD", "API_TOKEN", "AWS_SECRET_ACCESS_KEY", "SSH_KEY", "HTTPS_PROXY",
    }  # fmt: skip
    assert shown["PATH"] == "/bin"
