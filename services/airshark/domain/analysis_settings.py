"""When samples are analysed, and which devices raise an alarm."""

from dataclasses import dataclass
from typing import Protocol

from services.common.errors import InvalidArgument

ALARM_HYSTERESIS = 10
"""An alarm ends when the severity is this far below the threshold, so that it does not flutter."""


@dataclass(frozen=True, slots=True)
class AnalysisSettings:
    """What an operator chooses."""

    continuous: bool = False
    """Whether samples are analysed while nobody watches."""
    alarm_severity: int = 0
    """Severity from which a device raises an alarm; 0 for none."""

    def check(self) -> None:
        """Raises `InvalidArgument` for what is out of bounds."""
        if not 0 <= self.alarm_severity <= 100:
            raise InvalidArgument(
                "alarm_severity must be 0 to 100; 0 turns alarms off.",
                reason="ALARM_SEVERITY_OUT_OF_RANGE",
                field="settings.alarm_severity",
            )


class AnalysisSettingsStore(Protocol):
    """Where the settings are kept. Blocking."""

    def load(self) -> AnalysisSettings:
        """Returns what was saved, or the defaults."""

    def save(self, settings: AnalysisSettings) -> None:
        """Keeps settings."""
