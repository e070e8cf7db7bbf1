"""What the operator sees once the node is up."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version

from services.common.settings import Settings
from services.launcher.engine import EngineReport
from services.launcher.health import gateway_url

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104
LOOPBACK = ("127.", "localhost", "::1")
LABEL_WIDTH = 10


@dataclass(frozen=True, slots=True)
class Banner:
    """A node that has started."""

    settings: Settings
    engine: EngineReport
    engine_is_own: bool
    degraded: Mapping[str, str]
    """Part to what is wrong with it."""
    start_s: float

    def text(self) -> str:
        """Returns the banner. Blocking: looks whether the password file is there."""
        state = "runs, degraded" if self.degraded or self.engine.problem else "runs"
        lines = [f"Paradrop {version('paradrop')} {state}; it started in {self.start_s:.1f} s."]
        lines += [f"  {label:{LABEL_WIDTH}}{value}" for label, value in self._rows()]
        return "\n".join(["", *lines, "", "Ctrl-C stops it.", ""])

    def _rows(self) -> Iterator[tuple[str, str]]:
        settings = self.settings
        everywhere = " and at every other address of this machine"
        yield "URL", gateway_url(settings) + (everywhere if settings.listen_host in EVERYWHERE else "")
        yield "User", "paradrop"
        yield "Password", self._password()
        yield "State", str(settings.home)
        if not self.engine.problem:
            origin = ", started for this run" if self.engine_is_own else ""
            yield "Engine", f"Docker {self.engine.version} at {self.engine.address}{origin}"
        else:
            yield "Degraded", f"Docker engine: {self.engine.problem}. Chutes wait until it answers."
        for part, problem in self.degraded.items():
            yield "Degraded", f"{part}: {problem}"
        if not settings.tls_cert and not settings.listen_host.startswith(LOOPBACK):
            yield (
                "Warning",
                ("passwords and tokens travel unencrypted; set PARADROP_TLS_CERT and PARADROP_TLS_KEY"),
            )

    def _password(self) -> str:
        file = self.settings.admin_password_file
        if file.exists():
            return f"in {file}"
        if self.settings.admin_password:
            return "as given in PARADROP_ADMIN_PASSWORD or its file at the first start"
        return "as set at the first start"
