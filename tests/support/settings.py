"""Settings of a node that lives for one test."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.common.settings import Settings, load_settings

PASSWORD = "a:password for tests"


@contextmanager
def settings_in(home: Path, **environment: str) -> Iterator[Settings]:
    """Yields settings with the state in `home` and the sockets in a folder whose path is short enough."""
    with tempfile.TemporaryDirectory(prefix="pd-") as runtime:
        yield load_settings(
            {
                "PARADROP_HOME": str(home),
                "PARADROP_RUNTIME": runtime,
                "PARADROP_ADMIN_PASSWORD": PASSWORD,
                **environment,
            }
        )
