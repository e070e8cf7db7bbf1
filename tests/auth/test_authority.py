"""The authority of a node and the certificates of its parts."""

import asyncio
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.auth.adapters.authority import (
    AUTHORITY_DAYS,
    KEY_FILE,
    PART_DAYS,
    RENEWED_BEFORE_DAYS,
    Authority,
    keeping_certificates,
)
from services.common.tls import AUTHORITY_FILE, PART_FILE, Certificate, until_renewed

NOW_S = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
DAY_S = 86400.0
PARTS = ("auth", "chutes", "gateway")


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / "tls" / name for name in PARTS]
    for folder in folders:
        folder.mkdir(parents=True)
    return folders


@pytest.fixture
def authority(tmp_path: Path, clock: Clock) -> Authority:
    (tmp_path / "auth").mkdir()
    return Authority(tmp_path / "auth", clock)


def certificate(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / PART_FILE).read_bytes())


def test_each_part_gets_a_certificate_for_its_own_name(authority: Authority, parts: list[Path]) -> None:
    assert authority.issue(parts) == list(PARTS)
    for folder in parts:
        (believed,) = x509.load_pem_x509_certificates((folder / AUTHORITY_FILE).read_bytes())
        shown = certificate(folder)
        shown.verify_directly_issued_by(believed)
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [folder.name]
        key = load_pem_private_key((folder / PART_FILE).read_bytes(), None)
        assert key.public_key() == shown.public_key()
        assert shown.not_valid_after_utc < believed.not_valid_after_utc


def test_keys_are_for_their_owners(authority: Authority, parts: list[Path], tmp_path: Path) -> None:
    authority.issue(parts)
    assert stat.S_IMODE((tmp_path / "auth" / KEY_FILE).stat().st_mode) == 0o600
    for folder in parts:
        assert stat.S_IMODE((folder / PART_FILE).stat().st_mode) == 0o640
        assert b"PRIVATE" not in (folder / AUTHORITY_FILE).read_bytes()


def test_good_ones_stay(authority: Authority, parts: list[Path], clock: Clock, tmp_path: Path) -> None:
    authority.issue(parts)
    before = [(folder / PART_FILE).read_bytes() for folder in parts]
    clock.now_s += (PART_DAYS - RENEWED_BEFORE_DAYS - 1) * DAY_S
    assert Authority(tmp_path / "auth", clock).issue(parts) == []
    assert [(folder / PART_FILE).read_bytes() for folder in parts] == before


def test_they_are_renewed_long_before_they_expire(
    authority: Authority, parts: list[Path], clock: Clock
) -> None:
    authority.issue(parts)
    clock.now_s += (PART_DAYS - RENEWED_BEFORE_DAYS + 1) * DAY_S
    assert authority.issue(parts) == list(PARTS)
    for folder in parts:
        assert certificate(folder).not_valid_after_utc > datetime.fromtimestamp(clock.now_s, UTC) + timedelta(
            days=PART_DAYS - 1
        )


def test_the_authority_is_renewed_before_what_it_issues_would_outlive_it(
    authority: Authority, parts: list[Path], clock: Clock
) -> None:
    authority.issue(parts)
    first = (parts[0] / AUTHORITY_FILE).read_bytes()
    clock.now_s += (AUTHORITY_DAYS - PART_DAYS + 1) * DAY_S
    assert authority.issue(parts) == list(PARTS)
    assert (parts[0] / AUTHORITY_FILE).read_bytes() != first


def test_what_another_authority_issued_is_replaced(
    authority: Authority, parts: list[Path], clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    Authority(tmp_path / "other", clock).issue(parts)
    assert authority.issue(parts) == list(PARTS)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_cannot_be_read_is_replaced(authority: Authority, parts: list[Path], content: bytes) -> None:
    authority.issue(parts)
    (parts[1] / PART_FILE).write_bytes(content)
    assert authority.issue(parts) == ["chutes"]


def test_a_board_that_starts_in_the_past_is_believed_when_it_learns_the_time(
    authority: Authority, parts: list[Path], clock: Clock
) -> None:
    clock.now_s = 0.0
    authority.issue(parts)
    assert certificate(parts[0]).not_valid_before_utc < datetime(2021, 1, 1, tzinfo=UTC)
    clock.now_s = NOW_S
    assert authority.issue(parts) == list(PARTS)
    assert certificate(parts[0]).not_valid_after_utc > datetime.fromtimestamp(NOW_S, UTC)


async def test_they_are_kept_while_it_runs_and_parts_notice(
    authority: Authority, parts: list[Path], clock: Clock
) -> None:
    async with keeping_certificates(authority, parts[0], check_interval_s=0.01):
        in_use = await asyncio.to_thread(Certificate.read, parts[1])
        noticed = asyncio.create_task(until_renewed(in_use, interval_s=0.01))
        await asyncio.sleep(0.1)
        assert not noticed.done()
        clock.now_s += PART_DAYS * DAY_S
        await asyncio.wait_for(noticed, 10)
    assert certificate(parts[1]).not_valid_after_utc > datetime.fromtimestamp(clock.now_s, UTC)


async def test_one_process_has_none(authority: Authority, tmp_path: Path) -> None:
    async with keeping_certificates(authority, None):
        assert not (tmp_path / "auth" / KEY_FILE).exists()
