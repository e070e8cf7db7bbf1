"""The choice of the sources, and the status that follows from it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from services.airshark.domain.pipeline import Pipeline
from services.airshark.domain.reader import State
from services.airshark.domain.settings import SourceSettings, check_together
from services.airshark.domain.sources import Source, SourceKind
from services.common.errors import DomainError, InvalidArgument


class Choice(Protocol):
    """Keeps the choice over restarts; blocks."""

    def load(self) -> tuple[SourceSettings, ...]:
        """Returns what was chosen; at least one."""

    def save(self, settings: tuple[SourceSettings, ...]) -> None:
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
        self.settings: tuple[SourceSettings, ...] = (SourceSettings(),)
        """What was chosen, one for each radio; the first one is what is meant where none is named."""
        self._problem = ""

    async def open(self) -> None:
        """Takes up the choice that was kept; one that cannot be made any more is a problem to show."""
        self.settings = await asyncio.to_thread(self._choice.load)
        try:
            await self._pipeline.choose(*await asyncio.to_thread(self._make, self.settings))
        except DomainError as error:
            self._problem = str(error)

    async def choose(self, *settings: SourceSettings) -> tuple[SourceSettings, ...]:
        """Chooses one source or several and keeps the choice; raises domain errors and then changes
        nothing."""
        check_together(settings)
        async with self._choosing:
            sources = await asyncio.to_thread(self._make, settings)
            await asyncio.to_thread(self._choice.save, settings)
            self.settings, self._problem = settings, ""
            await self._pipeline.choose(*sources)
        return settings

    def _make(self, settings: tuple[SourceSettings, ...]) -> list[Source]:
        sources = [self._make_source(each) for each in settings]
        names = [source.radio for source in sources]
        for name in names:
            if names.count(name) > 1:
                raise InvalidArgument(
                    f"Two of the sources are the radio '{name}'; each may be there once.",
                    reason="SOURCE_INVALID",
                    field="more",
                )
        return sources

    async def status(self) -> Status:
        """Looks whether the radio is there, and tells."""
        readers = self._pipeline.readers
        present = [reader.source.kind for reader in readers if await reader.source.present()]
        problems = [reader.state.problem for reader in readers if reader.state.problem]
        return Status(
            hardware_ready=SourceKind.HARDWARE in present,
            software_ready=any(kind is not SourceKind.NONE for kind in present),
            airshark_running=any(reader.state.state is State.RUNNING for reader in readers),
            source_kind=self._pipeline.main.source.kind,
            problem=self._problem or " ".join(problems),
        )
