"""One part of a node as a process of its own, which may be killed and started again."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.common.settings import Settings


@dataclass
class PartProcess:
    """`paradrop serve PART` beside parts that a test serves itself."""

    part: str
    settings: Settings
    environment: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def output_file(self) -> Path:
        """Where its log goes."""
        return self.settings.home.parent / f"{self.settings.home.name}-{self.part}.txt"

    def start(self) -> None:
        """Starts it; it answers a moment later."""
        environment = os.environ | {
            "PARADROP_HOME": str(self.settings.home),
            "PARADROP_RUNTIME": str(self.settings.runtime),
            **self.environment,
        }
        with self.output_file.open("ab") as output:
            self._process = subprocess.Popen(
                [Path(sys.executable).with_name("paradrop"), "serve", self.part],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> int:
        """Ends it as an operator does and returns its exit status."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(20)
        finally:
            self._process = None
