"""The choice of the source, and the status that follows from it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from services.airshark.domain.pipeline import Pipeline, State
from services.airshark.domain.settings import SourceSettings
from services.airshark.domain.sources import Source, SourceKind
from services.common.errors import DomainError


class Choice(Protocol):
    """Keeps the choice over restarts; blocks."""

    def load(self) -> SourceSettings:
        """Returns what was chosen."""

    def save(self, settings: SourceSettings) -> None:
        """Keeps what was chosen."""


@dataclass(frozen=True, slots=True)
class Status:
    """Whether the spectrum can be watched."""

    hardware_ready: bool
    software_ready: bool
    airshark_running: bool
    source_kind: SourceKind
    problem: str


class RadioDesk:
    """Where the source is chosen and asked about."""

    def __init__(
        self, pipeline: Pipeline, choice: Choice, make_source: Callable[[SourceSettings], Source]
    ) -> None:
        self._pipeline = pipeline
        self._choice = choice
        self._make_source = make_source
        self._choosing = asyncio.Lock()
        self.settings = SourceSettings()
        self._problem = ""

    async def open(self) -> None:
        """Takes up the choice that was kept; one that cannot be made any more is a problem to show."""
        self.settings = await asyncio.to_thread(self._choice.load)
        try:
            await self._pipeline.choose(await asyncio.to_thread(self._make_source, self.settings))
        except DomainError as error:
            self._problem = str(error)

    async def choose(self, settings: SourceSettings) -> SourceSettings:
        """Chooses a source and keeps the choice; raises domain errors and then changes nothing."""
        settings.check()
        async with self._choosing:
            source = await asyncio.to_thread(self._make_source, settings)
            await asyncio.to_thread(self._choice.save, settings)
            self.settings, self._problem = settings, ""
            await self._pipeline.choose(source)
        return settings

    async def status(self) -> Status:
        """Looks whether the radio is there, and tells."""
        kind = self._pipeline.source.kind
        state = self._pipeline.state
        present = await self._pipeline.source.present()
        return Status(
            hardware_ready=kind is SourceKind.HARDWARE and present,
            software_ready=kind is not SourceKind.NONE and present,
            airshark_running=state.state is State.RUNNING,
            source_kind=kind,
            problem=self._problem or state.problem,
        )
