"""Keeps which source was chosen, and makes it."""

import json
from pathlib import Path

import structlog

from services.airshark.adapters.radio_source import (
    DEFAULT_DWELL_MS,
    DEFAULT_PERIOD,
    RadioSettings,
    RadioSource,
)
from services.airshark.adapters.recorded_source import RecordedSource
from services.airshark.adapters.recording_files import RecordingFiles
from services.airshark.adapters.simulated_source import SimulatedSource
from services.airshark.domain.pipeline import NoSource
from services.airshark.domain.settings import SourceSettings
from services.airshark.domain.sources import Source, SourceKind
from services.airshark.simulator.scenario import BadScenario, Scenario, parse_scenario
from services.common.errors import InvalidArgument
from services.common.files import write_atomically

log = structlog.get_logger()


class ChosenSource:
    """The choice, in a file. Everything here blocks."""

    def __init__(self, path: Path, scenario: Path | None = None, recording: str = "") -> None:
        self._path = path
        self._scenario = scenario
        """What to simulate until something is chosen."""
        self._recording = recording
        """What to play again and again until then."""

    def load(self) -> tuple[SourceSettings, ...]:
        """Returns the choice; the default if there is none or it cannot be read."""
        try:
            document = json.loads(self._path.read_text())
            more = document.pop("more", [])
            settings = tuple(map(SourceSettings.from_json, [document, *more]))
        except FileNotFoundError:
            return self._default()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.error("the choice of the spectrum source cannot be read and is ignored", reason=str(error))
            return (SourceSettings(),)
        return settings

    def _default(self) -> tuple[SourceSettings, ...]:
        found = []
        if self._scenario is not None:
            try:
                settings = SourceSettings(kind=SourceKind.SIMULATED, scenario=self._scenario.read_text())
                settings.check()
                _scenario(settings.scenario)
                found.append(settings)
            except (OSError, ValueError, InvalidArgument) as error:
                log.error("PARADROP_SPECTRUM_SCENARIO is no scenario and is ignored", reason=str(error))
        if self._recording:
            found.append(SourceSettings(kind=SourceKind.RECORDING, recording=self._recording, loop=True))
        return tuple(found) or (SourceSettings(),)

    def save(self, settings: tuple[SourceSettings, ...]) -> None:
        """Keeps a choice."""
        first, *more = (each.as_json() for each in settings)
        write_atomically(self._path, json.dumps({**first, "more": more}).encode())


def make_source(settings: SourceSettings, recordings: RecordingFiles) -> Source:
    """Returns the source that was chosen; raises domain errors when it cannot be. Blocking."""
    if settings.kind is SourceKind.HARDWARE:
        period = settings.spectral_period
        return RadioSource(
            settings.phy,
            RadioSettings(
                hop_mhz=settings.hop_mhz,
                dwell_ms=settings.dwell_ms or DEFAULT_DWELL_MS,
                period=DEFAULT_PERIOD if period is None else period,
                bins=settings.spectral_bins,
                hop_serving_radio=settings.hop_serving_radio,
            ),
        )
    if settings.kind is SourceKind.RECORDING:
        path = recordings.path(settings.recording)
        return RecordedSource(path, loop=settings.loop, fast=settings.fast)
    if settings.kind is SourceKind.SIMULATED:
        return SimulatedSource(_scenario(settings.scenario))
    return NoSource()  # type: ignore[return-value]  # It yields nothing of any type.


def _scenario(text: str) -> Scenario:
    try:
        return parse_scenario(text)
    except BadScenario as error:
        raise InvalidArgument(
            f"The scenario is not understood: {error}", reason="SCENARIO_INVALID", field="settings.scenario"
        ) from None
