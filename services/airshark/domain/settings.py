"""Which source was chosen, and whether that makes sense."""

import re
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from services.airshark.domain.sources import SourceKind
from services.common.errors import InvalidArgument

PHY = re.compile(r"[a-zA-Z0-9_-]{1,32}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MAX_HOPS = 64
MAX_SCENARIO_BYTES = 64 * 1024
MAX_SOURCES = 8


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """What to read; the fields of other kinds have no meaning."""

    kind: SourceKind = SourceKind.NONE
    phy: str = ""
    hop_mhz: tuple[int, ...] = ()
    dwell_ms: int = 0
    spectral_period: int | None = None
    spectral_bins: int = 0
    hop_serving_radio: bool = False
    recording: str = ""
    loop: bool = False
    fast: bool = False
    scenario: str = ""

    def check(self, within: str = "settings") -> None:
        """Raises `InvalidArgument` for the first field that is wrong; `within` is the field that this is."""
        require = partial(_require, within)
        require(len(self.hop_mhz) <= MAX_HOPS, "hop_mhz", f"may have {MAX_HOPS} frequencies")
        require(all(2300 <= mhz <= 7200 for mhz in self.hop_mhz), "hop_mhz", "must be from 2300 to 7200 MHz")
        if self.kind is SourceKind.HARDWARE:
            require(PHY.fullmatch(self.phy), "phy", "must be the name of a radio such as phy0")
            require(self.dwell_ms == 0 or 20 <= self.dwell_ms <= 60_000, "dwell_ms", "must be 20 to 60000")
            period = self.spectral_period
            require(period is None or 0 <= period <= 255, "spectral_period", "must be 0 to 255")
            bins = self.spectral_bins
            require(
                bins in (0, 32, 64, 128, 256, 512), "spectral_bins", "must be a power of two from 32 to 512"
            )
        elif self.kind is SourceKind.RECORDING:
            require(NAME.fullmatch(self.recording), "recording", "must be the name of a recording")
        elif self.kind is SourceKind.SIMULATED:
            require(
                0 < len(self.scenario.encode()) <= MAX_SCENARIO_BYTES,
                "scenario",
                "must be a scenario in YAML of at most 64 KiB",
            )

    def as_json(self) -> dict[str, Any]:
        """Returns what `from_json` reads."""
        return asdict(self) | {"hop_mhz": list(self.hop_mhz)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "SourceSettings":
        """Reads what `as_json` gave; raises TypeError or ValueError."""
        return cls(
            **{**document, "kind": SourceKind(document["kind"]), "hop_mhz": tuple(document["hop_mhz"])}
        )


def check_together(settings: tuple[SourceSettings, ...]) -> None:
    """Raises `InvalidArgument` for what is wrong with any of some sources, or with all of them together."""
    first, *more = settings
    first.check()
    if len(settings) > MAX_SOURCES:
        raise InvalidArgument(
            f"more may have {MAX_SOURCES - 1} sources.", reason="SOURCE_INVALID", field="more"
        )
    for number, each in enumerate(more):
        _require(
            f"more[{number}]", each.kind is not SourceKind.NONE, "kind", "must be one that gives samples"
        )
        each.check(f"more[{number}]")
    _require(
        "settings", not more or first.kind is not SourceKind.NONE, "kind", "must be one that gives samples"
    )


def _require(within: str, truth: object, field: str, demand: str) -> None:
    if not truth:
        raise InvalidArgument(f"{field} {demand}.", reason="SOURCE_INVALID", field=f"{within}.{field}")
