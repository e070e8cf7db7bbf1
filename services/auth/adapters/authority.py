"""The node's own certificate authority: issues what its parts show each other on their network."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.auth.domain.ports import Clock
from services.common.files import write_atomically
from services.common.tls import AUTHORITY_FILE, PART_FILE

PART_DAYS = 365
RENEWED_BEFORE_DAYS = 120
AUTHORITY_DAYS = 20 * 365
NOT_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
"""Boards without a clock of their own start in the past: what they once issued holds there too."""
CHECK_INTERVAL_S = 60.0

KEY_FILE = "authority-key.pem"

log = structlog.get_logger()


class Authority:
    """Issues certificates with a key that stays in the folder of auth."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    def issue(self, parts: Iterable[Path]) -> list[str]:
        """Issues what is missing or ends soon in the folders of parts, which have their names. Blocking.

        Returns the names of those that have got a new one. A folder that is not there is left out.
        """
        key, authority = self._open()
        pem = authority.public_bytes(Encoding.PEM)
        issued = []
        for folder in parts:
            if folder.is_dir() and not self._is_good(folder, authority):
                # Group: parts that need root's user, without its power to read all, share the group of auth.
                write_atomically(folder / AUTHORITY_FILE, pem, 0o644)
                write_atomically(folder / PART_FILE, self._issued(folder.name, key, authority), 0o640)
                issued.append(folder.name)
        return issued

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def _open(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        try:
            key = load_pem_private_key((self._folder / KEY_FILE).read_bytes(), password=None)
            authority = x509.load_pem_x509_certificate((self._folder / AUTHORITY_FILE).read_bytes())
        except FileNotFoundError:
            return self._made()
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise RuntimeError(f"{self._folder / KEY_FILE} is not ours; remove it, and another one is made.")
        # Nothing that it issues may outlive it.
        if authority.not_valid_after_utc < self._now() + timedelta(days=PART_DAYS):
            return self._made()
        return key, authority

    def _made(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Paradrop node")])
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        authority = (
            _begun(name, key.public_key(), self._now() + timedelta(days=AUTHORITY_DAYS))
            .issuer_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_atomically(self._folder / KEY_FILE, _pem(key))
        write_atomically(self._folder / AUTHORITY_FILE, authority.public_bytes(Encoding.PEM))
        return key, authority

    def _issued(
        self, name: str, authority_key: ec.EllipticCurvePrivateKey, authority: x509.Certificate
    ) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _begun(subject, key.public_key(), self._now() + timedelta(days=PART_DAYS))
            .issuer_name(authority.subject)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
            .sign(authority_key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM) + _pem(key)

    def _is_good(self, folder: Path, authority: x509.Certificate) -> bool:
        try:
            part = x509.load_pem_x509_certificate((folder / PART_FILE).read_bytes())
            believed = x509.load_pem_x509_certificate((folder / AUTHORITY_FILE).read_bytes())
            part.verify_directly_issued_by(authority)
        except (OSError, ValueError, TypeError):
            return False
        except Exception as error:
            log.warning("a certificate is not of this authority", part=folder.name, why=repr(error))
            return False
        ends_in = part.not_valid_after_utc - self._now()
        return believed == authority and timedelta(days=RENEWED_BEFORE_DAYS) < ends_in


def _begun(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(max(not_after, NOT_BEFORE + timedelta(days=PART_DAYS)))
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@asynccontextmanager
async def keeping_certificates(
    authority: Authority, own_folder: Path | None, check_interval_s: float = CHECK_INTERVAL_S
) -> AsyncIterator[None]:
    """Issues certificates at once to all folders beside that of auth, and new ones before they expire.

    It looks at the clock of the world again and again: boards without one of their own jump by years.
    """
    if own_folder is None:
        yield
        return

    def issue() -> None:
        if issued := authority.issue(sorted(own_folder.parent.iterdir())):
            log.info("issued certificates", parts=issued)

    async def keep() -> None:
        while True:
            await asyncio.sleep(check_interval_s)
            try:
                await asyncio.to_thread(issue)
            except OSError:
                log.exception("certificates were not renewed; trying again")

    await asyncio.to_thread(issue)
    keeper = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
