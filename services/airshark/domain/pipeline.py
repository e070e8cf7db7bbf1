"""Reads the chosen sources while somebody wants their samples, and hands what they give to all who do."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

from services.airshark.domain.reader import Item, Reader, State
from services.airshark.domain.sources import Source, SourceKind, SourceLost
from services.common.errors import NotFound


class Consumer(Protocol):
    """Takes whatever comes, in the event loop: it must not wait, and not take long."""

    def take(self, item: Item) -> None:
        """Is called once for each item."""


class NoSource:
    """Stands for no source at all."""

    kind = SourceKind.NONE
    radio = ""
    description = "none"

    async def present(self) -> bool:
        """Tells that there is nothing."""
        return False

    async def chunks(self) -> AsyncIterator[object]:
        """Has nothing and says so."""
        raise SourceLost("No source is chosen; choose one with PUT /api/v1/airshark/source.")
        yield


class Pipeline:
    """The sources, each with a decoder of its own, and those who want samples."""

    def __init__(self) -> None:
        self._consumers: list[Consumer] = []
        none: Source = NoSource()  # type: ignore[assignment]  # It yields nothing of any type.
        self.readers: tuple[Reader, ...] = (Reader(none, self._hand_out),)
        """One for each source, the first one first; never empty."""

    @property
    def main(self) -> Reader:
        """The first source: what is meant where no radio is named."""
        return self.readers[0]

    def of(self, radio: str) -> Reader | None:
        """Returns the source with the name of a radio, the first one for an empty name; None if there is
        none."""
        if not radio:
            return self.main
        return next((reader for reader in self.readers if reader.source.radio == radio), None)

    def require(self, radio: str) -> None:
        """Raises `NotFound` unless there is a source with the name of a radio, or the name is empty."""
        if self.of(radio) is None:
            names = ", ".join(reader.source.radio for reader in self.readers)
            raise NotFound(
                f"The radio '{radio}' is not read; what is read is {names}.",
                reason="RADIO_NOT_FOUND",
                radio=radio,
            )

    @property
    def reader_count(self) -> int:
        """How many consumers there are."""
        return len(self._consumers)

    async def choose(self, *sources: Source) -> None:
        """Replaces the sources; consumers stay."""
        for reader in self.readers:
            await reader.stop()
        self.readers = tuple(Reader(source, self._hand_out) for source in sources)
        for reader in self.readers:
            reader.tell(State.IDLE)
            if self._consumers:
                reader.start()

    @contextmanager
    def consuming(self, consumer: Consumer) -> Iterator[None]:
        """Hands everything to a consumer for the time of the context; the first one makes the sources run."""
        self._consumers.append(consumer)
        for reader in self.readers:
            reader.start()
        try:
            yield
        finally:
            self._consumers.remove(consumer)
            if not self._consumers:
                for reader in self.readers:
                    reader.leave()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Stops the sources at the end of the context."""
        try:
            yield
        finally:
            for reader in self.readers:
                await reader.stop()

    def _hand_out(self, item: Item) -> None:
        for consumer in tuple(self._consumers):
            consumer.take(item)
