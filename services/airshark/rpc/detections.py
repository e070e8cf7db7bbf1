"""The RPCs about the devices that were found."""

from collections.abc import AsyncIterator
from typing import Any

from google.rpc import status_pb2
from paradrop.airshark.v1 import detections_pb2 as pb
from paradrop.airshark.v1 import detections_pb2_grpc
from paradrop.type.v1 import stream_pb2

from services.airshark.adapters.detection_store import DetectionStore
from services.airshark.analysis.found import Device
from services.airshark.domain.air_quality import recommended
from services.airshark.domain.analysis_settings import AnalysisSettings
from services.airshark.domain.detections import Alarm, Detection, DetectionDesk
from services.airshark.rpc.detection_messages import DEVICES, KINDS, to_alarm, to_channel, to_detection
from services.common.errors import FailedPrecondition, InvalidArgument
from services.common.streams import heartbeat
from services.common.timestamps import to_seconds

SERVICE = pb.DESCRIPTOR.services_by_name["DetectionService"]
HEARTBEAT_S = 10.0
QUEUE_EVENTS = 256
BUSY_WINDOW_S = 30
DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 50, 500
HIGHEST_ID = 2**63 - 1
END_OF_TIME_S = 1e12


class DetectionServicer(detections_pb2_grpc.DetectionServiceServicer):
    """Translates between the wire and the desk."""

    def __init__(self, desk: DetectionDesk, store: DetectionStore) -> None:
        self._desk = desk
        self._store = store

    async def WatchDetections(
        self, request: pb.WatchDetectionsRequest, context: Any
    ) -> AsyncIterator[pb.WatchDetectionsResponse]:
        """Streams the present state, then what changes."""
        with self._desk.feed.subscribe(QUEUE_EVENTS) as subscription, self._desk.wanted():
            for detection in self._desk.known:
                yield pb.WatchDetectionsResponse(detection=to_detection(detection))
            yield pb.WatchDetectionsResponse(synced=stream_pb2.Synced())
            async for events in subscription.batches(HEARTBEAT_S):
                dropped = subscription.take_dropped()
                messages = [_message(event) for event in events]
                messages = messages or [pb.WatchDetectionsResponse(heartbeat=heartbeat())]
                messages[0].dropped_count = dropped
                for message in messages:
                    yield message
            yield pb.WatchDetectionsResponse(end=stream_pb2.End(status=status_pb2.Status()))

    async def ListDetections(
        self, request: pb.ListDetectionsRequest, context: Any
    ) -> pb.ListDetectionsResponse:
        """Lists devices of the past."""
        if request.page_size > MAX_PAGE_SIZE:
            raise InvalidArgument(
                f"page_size must be 1 to {MAX_PAGE_SIZE}.", reason="PAGE_SIZE_OUT_OF_RANGE", field="page_size"
            )
        size = request.page_size or DEFAULT_PAGE_SIZE
        await self._desk.flush()
        found = await self._store.page(
            to_seconds(request.start_time) if request.HasField("start_time") else 0.0,
            to_seconds(request.end_time) if request.HasField("end_time") else END_OF_TIME_S,
            _device(request.device),
            _before(request.page_token),
            size + 1,
        )
        return pb.ListDetectionsResponse(
            detections=[to_detection(detection) for detection in found[:size]],
            next_page_token=str(found[size - 1].id) if len(found) > size else "",
        )

    async def GetAirQuality(self, request: pb.GetAirQualityRequest, context: Any) -> pb.GetAirQualityResponse:
        """Returns the quality of all channels."""
        if not self._desk.running:
            raise FailedPrecondition(
                "Nothing is being analysed; choose a source with PUT /api/v1/airshark/source, and watch "
                "detections or set continuous with PUT /api/v1/airshark/analysis.",
                reason="ANALYSIS_NOT_RUNNING",
            )
        known = self._desk.known
        qualities = self._desk.quality
        busy = self._desk.busy(BUSY_WINDOW_S)
        return pb.GetAirQualityResponse(
            channels=[to_channel(each, busy.get(each.channel, 0.0), known) for each in qualities],
            recommended_channel=recommended(qualities, busy),
        )

    async def GetAnalysis(self, request: pb.GetAnalysisRequest, context: Any) -> pb.GetAnalysisResponse:
        """Returns what is being analysed."""
        desk = self._desk
        return pb.GetAnalysisResponse(
            settings=_to_settings(desk.settings),
            running=desk.running,
            model_version=desk.model_version,
            sample_count=desk.sample_count,
            skipped_count=desk.skipped_count,
            not_judged=[
                pb.NotJudged(device=KINDS[Device(each["device"])], reason=each["reason"])
                for each in desk.not_judged
            ],
        )

    async def SetAnalysis(self, request: pb.SetAnalysisRequest, context: Any) -> pb.SetAnalysisResponse:
        """Chooses what is analysed."""
        wanted = AnalysisSettings(request.settings.continuous, request.settings.alarm_severity)
        return pb.SetAnalysisResponse(settings=_to_settings(await self._desk.choose(wanted)))


def _message(event: Detection | Alarm) -> pb.WatchDetectionsResponse:
    if isinstance(event, Alarm):
        return pb.WatchDetectionsResponse(alarm=to_alarm(event))
    return pb.WatchDetectionsResponse(detection=to_detection(event))


def _to_settings(settings: AnalysisSettings) -> pb.AnalysisSettings:
    return pb.AnalysisSettings(continuous=settings.continuous, alarm_severity=settings.alarm_severity)


def _device(kind: "pb.DeviceKind.ValueType") -> Device | None:
    if kind == pb.DEVICE_KIND_UNSPECIFIED:
        return None
    device = DEVICES.get(kind)
    if device is None:
        raise InvalidArgument(
            "device must be one of the kinds of DeviceKind.", reason="DEVICE_UNKNOWN", field="device"
        )
    return device


def _before(token: str) -> int:
    if not token:
        return HIGHEST_ID
    if not token.isascii() or not token.isdigit() or int(token) > HIGHEST_ID:
        raise InvalidArgument(
            "page_token must be what the page before gave.", reason="PAGE_TOKEN_INVALID", field="page_token"
        )
    return int(token)
