"""Draws a file of samples: the strongest and the mean level of each frequency, and a waterfall below."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from services.airshark.domain.block import Flag, SampleBlock
from services.airshark.domain.formats import ATH9K_BIN_SPACING_MHZ
from services.airshark.tools.colours import colours, limits
from services.airshark.tools.reading import Report, read_blocks

WIDTH, CURVE_HEIGHT, FALL_HEIGHT = 1200, 260, 420
LEFT, RIGHT, TOP, GAP, BOTTOM = 64, 16, 34, 28, 34
PANEL_GAP = 14
LARGEST_HOLE_MHZ = 40.0
MIN_PANEL_WIDTH = 90
BACKGROUND, INK, FAINT = (255, 255, 255), (30, 30, 30), (205, 205, 205)
MAX_COLOUR, MEAN_COLOUR = (190, 40, 40), (40, 80, 190)
UNSEEN_DBM = -200.0


@dataclass(slots=True)
class Panel:
    """One stretch of frequencies that was sampled."""

    low_mhz: float
    high_mhz: float
    left: int = 0
    width: int = 0

    def columns(self) -> int:
        """Returns how many cells it has: none narrower than a bin of ath9k."""
        return max(min(self.width, round((self.high_mhz - self.low_mhz) / ATH9K_BIN_SPACING_MHZ)), 1)


@dataclass(slots=True)
class _Picture:
    """What is drawn in one panel."""

    panel: Panel
    strongest: "npt.NDArray[np.float32]"
    """(rows, columns)"""
    power: "npt.NDArray[np.float64]"
    counts: "npt.NDArray[np.int64]"

    def mean(self) -> "npt.NDArray[np.float32]":
        with np.errstate(divide="ignore", invalid="ignore"):
            level = 10 * np.log10(self.power / self.counts)
        return np.where(self.counts > 0, level, UNSEEN_DBM).astype(np.float32)


def plot(source: Path, target: Path, low_mhz: float = 0, high_mhz: float = 0) -> Report:
    """Writes a PNG; raises `NoCapture`, OSError or ValueError when there is nothing to draw."""
    report = Report()
    spans: set[tuple[float, float]] = set()
    for block, _ in read_blocks(source, report):
        for first, spacing in {*zip(block.first_bin_mhz.tolist(), block.spacing_mhz.tolist(), strict=True)}:
            spans.add((first - spacing / 2, first + spacing * (block.bin_count - 0.5)))
    panels = _panels(spans, low_mhz, high_mhz)
    if not panels:
        raise ValueError("The file holds no samples in this band.")
    pictures = [
        _Picture(
            panel,
            np.full((FALL_HEIGHT, panel.columns()), UNSEEN_DBM, np.float32),
            np.zeros(panel.columns()),
            np.zeros(panel.columns(), np.int64),
        )
        for panel in panels
    ]
    duration_s = max(report.air_time_s, 1e-6)
    for block, times in read_blocks(source, Report()):
        rows = np.minimum((times / duration_s * FALL_HEIGHT).astype(np.intp), FALL_HEIGHT - 1)
        for picture in pictures:
            _add(picture, block, rows)
    _draw(
        pictures, f"{source.name}: {report.counts['samples']} samples, {duration_s:.2f} s", duration_s
    ).save(target, "PNG")
    return report


def _panels(spans: set[tuple[float, float]], low_mhz: float, high_mhz: float) -> list[Panel]:
    joined: list[Panel] = []
    for low, high in sorted(spans):
        low, high = max(low, low_mhz), min(high, high_mhz or high)
        if high <= low:
            continue
        if joined and low - joined[-1].high_mhz <= LARGEST_HOLE_MHZ:
            joined[-1].high_mhz = max(joined[-1].high_mhz, high)
        else:
            joined.append(Panel(low, high))
    room = WIDTH - LEFT - RIGHT - PANEL_GAP * (len(joined) - 1)
    whole = sum(panel.high_mhz - panel.low_mhz for panel in joined)
    spare = room - MIN_PANEL_WIDTH * len(joined)
    left = LEFT
    for panel in joined:
        panel.left = left
        panel.width = MIN_PANEL_WIDTH + int(spare * (panel.high_mhz - panel.low_mhz) / whole)
        left += panel.width + PANEL_GAP
    return joined if spare > 0 else []


def _add(picture: _Picture, block: SampleBlock, rows: "npt.NDArray[np.intp]") -> None:
    panel, columns = picture.panel, picture.panel.columns()
    step = (panel.high_mhz - panel.low_mhz) / columns
    centres = panel.low_mhz + step * (np.arange(columns) + 0.5)
    axes, which = block.axes
    good = block.flags & Flag.ALL_ZERO == 0
    for number in range(len(axes)):
        chosen = good & (which == number)
        axis = axes[number]
        spacing = float(axis[1] - axis[0])
        bins = np.rint((centres - axis[0]) / spacing).astype(np.intp)
        covered = np.flatnonzero((bins >= 0) & (bins < len(axis)))
        if not len(covered) or not chosen.any():
            continue
        levels = block.dbm[chosen][:, bins[covered]]
        np.maximum.at(picture.strongest, (rows[chosen][:, None], covered[None, :]), levels)
        picture.power[covered] += np.power(10.0, levels / 10).sum(axis=0)
        picture.counts[covered] += len(levels)


def _draw(pictures: list[_Picture], title: str, duration_s: float) -> Image.Image:
    height = TOP + CURVE_HEIGHT + GAP + FALL_HEIGHT + BOTTOM
    image = Image.new("RGB", (WIDTH, height), BACKGROUND)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(12)
    everything = np.concatenate([picture.strongest.ravel() for picture in pictures])
    low, high = limits(everything)
    highest = max(float(everything.max()) + 3, high)
    bottom = TOP + CURVE_HEIGHT
    fall = bottom + GAP
    draw.text((LEFT, 8), title, INK, font)
    draw.text((WIDTH - 190, 8), "max hold", MAX_COLOUR, font)
    draw.text((WIDTH - 110, 8), "mean power", MEAN_COLOUR, font)
    for dbm in range(int(np.ceil(low / 10)) * 10, int(highest) + 1, 10):
        y = _y(dbm, low, highest)
        draw.text((8, y - 7), f"{dbm} dBm", INK, font)
        for picture in pictures:
            draw.line((picture.panel.left, y, picture.panel.left + picture.panel.width, y), FAINT)
    for share in (0, 0.25, 0.5, 0.75, 1):
        draw.text(
            (8, fall + share * FALL_HEIGHT - (14 if share == 1 else 0)),
            f"{share * duration_s:.2f} s",
            INK,
            font,
        )
    for picture in pictures:
        panel = picture.panel
        pixels = Image.fromarray(colours(_held(picture.strongest), low, high))
        image.paste(pixels.resize((panel.width, FALL_HEIGHT), Image.Resampling.NEAREST), (panel.left, fall))
        _curve(draw, panel, picture.mean(), low, highest, MEAN_COLOUR)
        _curve(draw, panel, picture.strongest.max(axis=0), low, highest, MAX_COLOUR)
        draw.rectangle((panel.left, TOP, panel.left + panel.width, bottom), outline=INK)
        for mhz in _ticks(panel):
            x = panel.left + (mhz - panel.low_mhz) / (panel.high_mhz - panel.low_mhz) * panel.width
            draw.line((x, bottom, x, bottom + 4), INK)
            draw.text((x, bottom + 6), f"{mhz:g}", INK, font, anchor="ma")
            draw.line((x, fall + FALL_HEIGHT, x, fall + FALL_HEIGHT + 4), INK)
            draw.text((x, fall + FALL_HEIGHT + 6), f"{mhz:g}", INK, font, anchor="ma")
    draw.text((8, fall + FALL_HEIGHT + 14), "MHz", INK, font)
    return image


def _held(strongest: "npt.NDArray[np.float32]") -> "npt.NDArray[np.float32]":
    """Lets a level stand until the next one was measured, at most for a twentieth of the height."""
    held = strongest.copy()
    age = np.zeros(held.shape[1], np.intp)
    for row in range(1, len(held)):
        empty = held[row] <= UNSEEN_DBM
        age = np.where(empty, age + 1, 0)
        held[row] = np.where(empty & (age <= FALL_HEIGHT // 20), held[row - 1], held[row])
    return held


def _curve(
    draw: ImageDraw.ImageDraw,
    panel: Panel,
    levels: "npt.NDArray[np.float32]",
    low: float,
    high: float,
    colour: tuple[int, int, int],
) -> None:
    points: list[tuple[float, float]] = []
    for column, level in enumerate(levels):
        if level <= UNSEEN_DBM:
            if len(points) > 1:
                draw.line(points, colour)
            points = []
            continue
        x = panel.left + (column + 0.5) / len(levels) * panel.width
        points.append((x, _y(float(level), low, high)))
    if len(points) > 1:
        draw.line(points, colour)


def _y(dbm: float, low: float, high: float) -> float:
    return TOP + CURVE_HEIGHT * (1 - min(max((dbm - low) / (high - low), 0), 1))


def _ticks(panel: Panel) -> list[float]:
    span = panel.high_mhz - panel.low_mhz
    most = max(panel.width // 55, 1)
    step = next(
        step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if span / step <= most or step == 1000
    )
    first = int(np.ceil(panel.low_mhz / step)) * step
    return [float(mhz) for mhz in np.arange(first, panel.high_mhz, step)]
