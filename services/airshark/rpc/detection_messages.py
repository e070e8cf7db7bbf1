"""Between detections and their protos."""

from typing import Any

from paradrop.airshark.v1 import detections_pb2 as pb

from services.airshark.analysis.found import Device
from services.airshark.domain.air_quality import ChannelQuality
from services.airshark.domain.detections import Alarm, Detection
from services.common.timestamps import to_timestamp

KINDS = {device: pb.DeviceKind.Value(f"DEVICE_KIND_{device.name}") for device in Device}
DEVICES = {kind: device for device, kind in KINDS.items()}


def to_detection(detection: Detection) -> pb.Detection:
    """Returns a detection as readers get it."""
    track = detection.track
    return pb.Detection(
        id=str(detection.id),
        radio=detection.radio,
        device=KINDS[track.device],
        confidence=round(track.confidence, 4),
        center_mhz=round(track.center_mhz, 3),
        bandwidth_mhz=round(track.bandwidth_mhz, 3),
        rssi_dbm=round(track.rssi_dbm, 1),
        duty_cycle=round(track.duty_cycle, 4),
        first_seen=to_timestamp(detection.first_seen_s),
        last_seen=to_timestamp(detection.last_seen_s),
        active=track.active,
        severity=track.severity,
        channels=detection.channels,
        model_version=detection.model_version,
        features={name: round(value, 4) for name, value in track.features.items()},
    )


def to_alarm(alarm: Alarm) -> pb.Alarm:
    """Returns an alarm as readers get it."""
    return pb.Alarm(
        detection=to_detection(alarm.detection),
        raised=alarm.raised,
        threshold=alarm.threshold,
        time=to_timestamp(alarm.time_s),
    )


def to_channel(quality: ChannelQuality, busy_share: float, detections: list[Detection]) -> pb.ChannelQuality:
    """Returns the quality of a channel; `detections` are those that `quality` speaks of, among others."""
    by_track = {id(detection.track): detection for detection in detections}
    return pb.ChannelQuality(
        channel=quality.channel,
        quality=quality.quality,
        interference_duty=round(quality.interference_duty, 4),
        busy_share=round(busy_share, 4),
        worst=[to_detection(by_track[id(track)]) for track in quality.worst],
    )


def to_event(event: Detection | Alarm) -> dict[str, Any]:
    """Returns an event as readers of the analyzer's JSON get it."""
    if isinstance(event, Alarm):
        return {
            "event": "alarm",
            "time": event.time_s,
            "raised": event.raised,
            "threshold": event.threshold,
            "id": str(event.detection.id),
            "radio": event.detection.radio,
            "device": event.detection.track.device.value,
            "severity": event.detection.track.severity,
        }
    track = event.track
    return {
        "event": "detection",
        "type": "detection",
        "id": str(event.id),
        "radio": event.radio,
        "device": track.device.value,
        "confidence": round(track.confidence, 3),
        "center_mhz": round(track.center_mhz, 2),
        "bandwidth_mhz": round(track.bandwidth_mhz, 2),
        "rssi_dbm": round(track.rssi_dbm, 1),
        "duty_cycle": round(track.duty_cycle, 4),
        "first_seen": event.first_seen_s,
        "last_seen": event.last_seen_s,
        "active": track.active,
        "severity": track.severity,
        "channels": list(event.channels),
        "model_version": event.model_version,
    }
