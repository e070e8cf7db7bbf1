"""What the spectrum service is counted by, besides its calls."""

from collections import Counter

from services.airshark.analysis.found import Device
from services.airshark.domain.detections import DetectionDesk
from services.airshark.domain.pipeline import Pipeline
from services.common.metrics import Family, Sample


def gauges(pipeline: Pipeline, desk: DetectionDesk) -> list[Family]:
    """Returns samples, devices, alarms and the quality of channels; while nothing is analysed, channels have
    none."""
    active = [each.track for each in desk.known if each.track.active]
    of_kind = Counter(track.device for track in active)
    qualities = desk.quality if desk.running else []
    return [
        Family("paradrop_airshark_samples_per_second", "Samples that the radio gives.", "gauge",
               [Sample(reader.rate.per_s(), {"radio": reader.source.radio}) for reader in pipeline.readers]),
        Family("paradrop_airshark_analysing", "Whether samples are being analysed.", "gauge",
               [Sample(desk.running)]),
        Family("paradrop_airshark_analysed_samples", "Samples of the present sources that were analysed.",
               "gauge", [Sample(desk.sample_count)]),
        Family("paradrop_airshark_skipped_samples",
               "Samples of the present sources that came faster than they could be analysed.", "gauge",
               [Sample(desk.skipped_count)]),
        Family("paradrop_airshark_detections", "Devices that were detected, by kind.", "counter",
               [Sample(count, {"device": kind.value}, "_total")
                for kind, count in sorted(desk.detected.items())]),
        Family("paradrop_airshark_active_devices", "Devices that are on the air, by kind.", "gauge",
               [Sample(of_kind[kind], {"device": kind.value}) for kind in Device]),
        Family("paradrop_airshark_raised_alarms", "Devices above the threshold for alarms.", "gauge",
               [Sample(desk.alarm_count)]),
        Family("paradrop_airshark_channel_quality", "100 for clean air, by Wi-Fi channel.", "gauge",
               [Sample(each.quality, {"channel": str(each.channel)}) for each in qualities]),
        Family("paradrop_airshark_interference_duty",
               "Share of the time in which something else than Wi-Fi transmits, by Wi-Fi channel.", "gauge",
               [Sample(each.interference_duty, {"channel": str(each.channel)}) for each in qualities]),
    ]  # fmt: skip
