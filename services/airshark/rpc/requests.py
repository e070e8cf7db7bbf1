"""Checks what readers ask for and makes the views that they get."""

from paradrop.airshark.v1 import airshark_pb2 as pb

from services.airshark.domain.band import Band, Statistic
from services.airshark.domain.formats import ATH9K_BIN_SPACING_MHZ
from services.airshark.domain.settings import SourceSettings
from services.airshark.rpc.band_views import SweepView, WaterfallView
from services.airshark.rpc.sample_views import Selection
from services.airshark.rpc.source_messages import KINDS
from services.common.errors import InvalidArgument

DEFAULT_BAND_MHZ = (2400.0, 2500.0)
MAX_BAND_MHZ = 1000.0
HIGHEST_MHZ = 8000.0
STATISTICS = {
    pb.STATISTIC_UNSPECIFIED: Statistic.MAX,
    pb.STATISTIC_MAX: Statistic.MAX,
    pb.STATISTIC_MEAN: Statistic.MEAN,
    pb.STATISTIC_PERCENTILE: Statistic.PERCENTILE,
}


def require(truth: bool, field: str, demand: str) -> None:
    """Raises `InvalidArgument` unless something is true of a field."""
    if not truth:
        raise InvalidArgument(f"{field} must be {demand}.", reason="VALUE_OUT_OF_RANGE", field=field)


def to_selection(request: pb.SubscribeSpectrumRequest) -> Selection:
    """Reads which samples are wanted."""
    require(request.max_blocks_per_s <= 20, "max_blocks_per_s", "1 to 20")
    require(0 <= request.min_mhz <= HIGHEST_MHZ, "min_mhz", "0 to 8000")
    require(0 <= request.max_mhz <= HIGHEST_MHZ, "max_mhz", "0 to 8000")
    require(not request.max_mhz or request.min_mhz <= request.max_mhz, "max_mhz", "at least min_mhz")
    require(request.every <= 1_000_000, "every", "at most 1000000")
    require(request.encoding in pb.Encoding.values(), "encoding", "an encoding that exists")
    return Selection(
        radio=request.radio,
        min_mhz=request.min_mhz,
        max_mhz=request.max_mhz,
        every=max(request.every, 1),
        encoding=request.encoding or pb.ENCODING_FLOAT32,
        interval_s=1 / (request.max_blocks_per_s or 10),
    )


def to_sweep_view(request: pb.SubscribeSweepRequest) -> SweepView:
    """Makes the view of a band; a step is as wide as a bin of ath9k."""
    low, high = _band(request.min_mhz, request.max_mhz)
    rate_hz = request.rate_hz or 2.0
    require(rate_hz * (1 + 1e-6) >= 0.1 and rate_hz <= 20, "rate_hz", "0.1 to 20")
    require(request.percentile <= 99, "percentile", "1 to 99")
    require(request.statistic in STATISTICS, "statistic", "a statistic that exists")
    cells = max(round((high - low) / ATH9K_BIN_SPACING_MHZ), 1)
    band = Band(low, ATH9K_BIN_SPACING_MHZ, cells, STATISTICS[request.statistic], request.percentile or 50)
    return SweepView(band, 1 / rate_hz, request.radio)


def to_waterfall_view(request: pb.SubscribeWaterfallRequest) -> WaterfallView:
    """Makes the view of a waterfall."""
    low, high = _band(request.min_mhz, request.max_mhz)
    columns, rate, rows = request.columns or 256, request.rows_per_s or 10, request.rows_per_tile or 5
    require(16 <= columns <= 2048, "columns", "16 to 2048")
    require(rate <= 50, "rows_per_s", "1 to 50")
    require(rows <= 64, "rows_per_tile", "1 to 64")
    return WaterfallView(
        Band(low, (high - low) / columns, columns, Statistic.MAX), 1 / rate, rows, request.radio
    )


def _band(min_mhz: float, max_mhz: float) -> tuple[float, float]:
    low, high = min_mhz or DEFAULT_BAND_MHZ[0], max_mhz or DEFAULT_BAND_MHZ[1]
    require(0 < low <= HIGHEST_MHZ, "min_mhz", "1 to 8000")
    require(low + 1 <= high <= HIGHEST_MHZ, "max_mhz", "at least 1 MHz above min_mhz, and at most 8000")
    require(high - low <= MAX_BAND_MHZ, "max_mhz", "at most 1000 MHz above min_mhz")
    return low, high


_KINDS = {number: kind for kind, number in KINDS.items()}


def to_settings(settings: pb.SourceSettings, within: str) -> SourceSettings:
    """Reads a choice of source; `within` is the field that it is."""
    if settings.kind not in _KINDS:
        raise InvalidArgument(
            "kind must be SOURCE_KIND_NONE, _HARDWARE, _RECORDING or _SIMULATED.",
            reason="SOURCE_INVALID",
            field=f"{within}.kind",
        )
    return SourceSettings(
        kind=_KINDS[settings.kind],
        phy=settings.phy,
        hop_mhz=tuple(settings.hop_mhz),
        dwell_ms=settings.dwell_ms,
        spectral_period=settings.spectral_period if settings.HasField("spectral_period") else None,
        spectral_bins=settings.spectral_bins,
        hop_serving_radio=settings.hop_serving_radio,
        recording=settings.recording,
        loop=settings.loop,
        fast=settings.fast,
        scenario=settings.scenario,
    )


def from_settings(settings: SourceSettings) -> pb.SourceSettings:
    """Writes a choice of source."""
    return pb.SourceSettings(
        kind=KINDS[settings.kind],
        phy=settings.phy,
        hop_mhz=settings.hop_mhz,
        dwell_ms=settings.dwell_ms,
        spectral_period=settings.spectral_period,
        spectral_bins=settings.spectral_bins,
        hop_serving_radio=settings.hop_serving_radio,
        recording=settings.recording,
        loop=settings.loop,
        fast=settings.fast,
        scenario=settings.scenario,
    )
