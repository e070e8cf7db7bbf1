"""Shows the band live in the terminal: the strongest levels as bars, and a waterfall below."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.style import Style
from rich.text import Text

from services.airshark.adapters.files import open_file
from services.airshark.domain.band import Band, Statistic
from services.airshark.domain.decoder import Decoder
from services.airshark.tools.colours import colours, limits

BARS = " ▁▂▃▄▅▆▇█"
BAR_ROWS = 8
ROW_S = 0.1
FRAMES_PER_S = 10


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the waterfall."""

    levels: "npt.NDArray[np.float32]"
    note: str = ""
    """What became of the source, if this row tells only that."""


class Screen:
    """What the terminal shows."""

    def __init__(self, console: Console, low_mhz: float, high_mhz: float, title: str) -> None:
        self._console = console
        self._low_mhz, self._high_mhz = low_mhz, high_mhz
        self._title = title
        self.columns = max(min(console.width - 1, 400), 20)
        # Two rows of the waterfall share one line of text.
        self._rows: deque[npt.NDArray[np.float32]] = deque(maxlen=2 * max(console.height - BAR_ROWS - 4, 4))
        self._note = ""
        self._count = 0

    def add(self, row: Row) -> None:
        """Takes a row in."""
        self._note = row.note
        if len(row.levels):
            self._rows.appendleft(row.levels)
            self._count += 1

    def render(self) -> RenderableType:
        """Returns all lines."""
        header = Text(f"{self._title}  {self._note}", style="bold", no_wrap=True, overflow="ellipsis")
        if not self._rows:
            return Group(header, Text("waiting for samples ..."))
        rows = np.stack(self._rows)
        low, high = limits(rows)
        legend = Text(
            f"{low:.0f} to {high:.0f} dBm, newest row on top, Ctrl-C ends", style="dim", no_wrap=True
        )
        return Group(header, *self._bars(rows, low, high), self._axis(), *self._fall(rows, low, high), legend)

    def _bars(self, rows: "npt.NDArray[np.float32]", low: float, high: float) -> Iterator[Text]:
        strongest = rows.max(axis=0)
        heights = np.clip((strongest - low) / (high - low), 0, 1) * BAR_ROWS
        inks = colours(strongest, low, high)
        for line in range(BAR_ROWS - 1, -1, -1):
            text = Text(no_wrap=True)
            for height, ink in zip(heights, inks, strict=True):
                part = round(min(max(float(height) - line, 0), 1) * 8)
                text.append(BARS[part], Style(color=_hex(ink)))
            yield text

    def _fall(self, rows: "npt.NDArray[np.float32]", low: float, high: float) -> Iterator[Text]:
        inks = colours(rows, low, high)
        for upper in range(0, len(inks) - 1, 2):
            text = Text(no_wrap=True)
            for above, below in zip(inks[upper], inks[upper + 1], strict=True):
                text.append("▀", Style(color=_hex(above), bgcolor=_hex(below)))
            yield text

    def _axis(self) -> Text:
        line = [" "] * self.columns
        span = self._high_mhz - self._low_mhz
        step = next(s for s in (5, 10, 20, 50, 100, 200, 500) if span / s <= self.columns / 8 or s == 500)
        first = int(np.ceil(self._low_mhz / step)) * step
        for mhz in np.arange(first, self._high_mhz, step):
            label = f"|{mhz:g}"
            at = int((mhz - self._low_mhz) / span * self.columns)
            if at + len(label) <= self.columns:
                line[at : at + len(label)] = label
        return Text("".join(line), style="dim", no_wrap=True)


def _hex(colour: "npt.NDArray[np.uint8]") -> str:
    red, green, blue = colour.tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def show(screen: Screen, rows: Iterator[Row], console: Console, seconds: float) -> None:
    """Shows rows as they come; ends after so many seconds, or at the end of the rows."""
    until_s = time.monotonic() + seconds if seconds else float("inf")
    with Live(
        screen.render(), console=console, auto_refresh=False, screen=console.is_terminal, transient=False
    ) as live:
        shown_s = 0.0
        for row in rows:
            screen.add(row)
            now_s = time.monotonic()
            if now_s - shown_s >= 1 / FRAMES_PER_S:
                live.update(screen.render(), refresh=True)
                shown_s = now_s
            if now_s >= until_s:
                break
        live.update(screen.render(), refresh=True)


def file_rows(path: Path, columns: int, low_mhz: float, high_mhz: float) -> Iterator[Row]:
    """Plays a file at its own pace; raises `NoCapture` or OSError."""
    _, chunks = open_file(path)
    decoder = Decoder(path.stem)
    band = Band(low_mhz, (high_mhz - low_mhz) / columns, columns, Statistic.MAX)
    begun_s, first_s, row_s = time.monotonic(), None, 0.0
    for chunk in chunks:
        first_s = chunk.wall_time_s if first_s is None else first_s
        due_s = chunk.wall_time_s - first_s
        time.sleep(max(begun_s + due_s - time.monotonic(), 0))
        for block in decoder.feed(chunk.data, chunk.wall_time_s):
            band.add(block)
        if due_s >= row_s:
            row_s = due_s + ROW_S
            yield Row(band.levels(), f"{due_s:.1f} s")
            band.clear()
