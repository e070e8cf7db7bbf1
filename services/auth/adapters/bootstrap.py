"""The password of the first start."""

import secrets
from pathlib import Path

from services.auth.domain.model import MAX_PASSWORD_BYTES, MIN_PASSWORD_BYTES
from services.common.files import write_atomically
from services.common.settings import SettingError

# Without 0, O, 1, l, I and the like: people read it from a screen and type it.
ALPHABET = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
GENERATED_LENGTH = 24


def bootstrap_password(given: str | None, file: Path) -> str:
    """Returns the password that was given, or else a strong one that it leaves in a file for the owner."""
    if given is not None:
        if not MIN_PASSWORD_BYTES <= len(given.encode()) <= MAX_PASSWORD_BYTES:
            raise SettingError(
                f"PARADROP_ADMIN_PASSWORD must have {MIN_PASSWORD_BYTES} to {MAX_PASSWORD_BYTES} bytes."
            )
        return given
    # A first start that was cut short may have left one, and somebody may have read it already.
    left = file.read_text().strip() if file.exists() else ""
    if len(left) >= GENERATED_LENGTH:
        return left
    generated = "".join(secrets.choice(ALPHABET) for _ in range(GENERATED_LENGTH))
    write_atomically(file, f"{generated}\n".encode())
    return generated
