"""The RPCs of the airshark service."""

from collections.abc import AsyncIterator
from typing import Any

from paradrop.airshark.v1 import airshark_pb2 as pb

from services.airshark.adapters.recording_files import Recording
from services.airshark.adapters.recordings import DEFAULT_MAX_BYTES, Limits, Recordings
from services.airshark.domain.channels import MAX_WINDOW_S
from services.airshark.domain.detections import DetectionDesk
from services.airshark.domain.pipeline import Pipeline
from services.airshark.domain.radio import RadioDesk
from services.airshark.domain.reader import Reader
from services.airshark.domain.settings import SourceSettings
from services.airshark.domain.sources import SourceKind
from services.airshark.domain.utilisation import UtilisationDesk
from services.airshark.rpc.analyzer_view import AnalyzerView
from services.airshark.rpc.requests import (
    from_settings,
    require,
    to_selection,
    to_settings,
    to_sweep_view,
    to_waterfall_view,
)
from services.airshark.rpc.sample_views import RawView, SpectrumView
from services.airshark.rpc.source_messages import KINDS, to_event
from services.airshark.rpc.streams import Streams
from services.common.timestamps import to_timestamp

SERVICE = pb.DESCRIPTOR.services_by_name["AirsharkService"]
ANALYZER = (pb.SubscribeAnalyzerResponse, "")
"""Key of the view of the analyzer's events."""
DEFAULT_WINDOW_S = 5
DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 50, 500


class AirsharkServicer:
    """Translates between the wire and the domain. Streams yield messages that are written out already."""

    def __init__(
        self,
        pipeline: Pipeline,
        desk: RadioDesk,
        streams: Streams,
        utilisation: UtilisationDesk,
        recordings: Recordings,
        detections: DetectionDesk,
    ) -> None:
        self._pipeline = pipeline
        self._desk = desk
        self._streams = streams
        self._utilisation = utilisation
        self._recordings = recordings
        self._detections = detections

    async def GetStatus(self, request: pb.GetStatusRequest, context: Any) -> pb.GetStatusResponse:
        """Returns whether the spectrum can be watched."""
        status = await self._desk.status()
        return pb.GetStatusResponse(
            hardware_ready=status.hardware_ready,
            software_ready=status.software_ready,
            airshark_running=status.airshark_running,
            source_kind=KINDS[status.source_kind],
            problem=status.problem,
        )

    async def GetSource(self, request: pb.GetSourceRequest, context: Any) -> pb.GetSourceResponse:
        """Returns the source and how it is doing."""
        first, *more = map(_to_report, self._desk.settings, self._pipeline.readers)
        return pb.GetSourceResponse(
            settings=first.settings,
            state=first.state,
            samples_per_s=first.samples_per_s,
            overflow_count=first.overflow_count,
            counts=first.counts,
            reader_count=self._pipeline.reader_count,
            more=more,
        )

    async def SetSource(self, request: pb.SetSourceRequest, context: Any) -> pb.SetSourceResponse:
        """Chooses the source, or several."""
        settings = [to_settings(request.settings, "settings")]
        for number, more in enumerate(request.more):
            settings.append(to_settings(more, f"more[{number}]"))
        first, *others = map(from_settings, await self._desk.choose(*settings))
        return pb.SetSourceResponse(settings=first, more=others)

    async def SubscribeRaw(self, request: pb.SubscribeRawRequest, context: Any) -> AsyncIterator[bytes]:
        """Streams the bytes of the kernel."""
        stream = self._streams.read(pb.SubscribeRawResponse, request.radio, lambda: RawView(request.radio))
        async for message in stream:
            yield message

    async def SubscribeSpectrum(
        self, request: pb.SubscribeSpectrumRequest, context: Any
    ) -> AsyncIterator[bytes]:
        """Streams decoded samples."""
        selection = to_selection(request)
        stream = self._streams.read(pb.SubscribeSpectrumResponse, selection, lambda: SpectrumView(selection))
        async for message in stream:
            yield message

    async def SubscribeSweep(self, request: pb.SubscribeSweepRequest, context: Any) -> AsyncIterator[bytes]:
        """Streams the band."""
        key = request.SerializeToString(deterministic=True)
        stream = self._streams.read(pb.SubscribeSweepResponse, key, lambda: to_sweep_view(request))
        async for message in stream:
            yield message

    async def SubscribeWaterfall(
        self, request: pb.SubscribeWaterfallRequest, context: Any
    ) -> AsyncIterator[bytes]:
        """Streams tiles of a waterfall."""
        key = request.SerializeToString(deterministic=True)
        stream = self._streams.read(pb.SubscribeWaterfallResponse, key, lambda: to_waterfall_view(request))
        async for message in stream:
            yield message

    async def GetChannelUtilisation(
        self, request: pb.GetChannelUtilisationRequest, context: Any
    ) -> pb.GetChannelUtilisationResponse:
        """Returns how busy the channels are."""
        window_s = request.window_s or DEFAULT_WINDOW_S
        require(window_s <= MAX_WINDOW_S, "window_s", f"1 to {MAX_WINDOW_S}")
        channels = await self._utilisation.over(window_s, request.radio)
        return pb.GetChannelUtilisationResponse(
            window_s=window_s,
            channels=[
                pb.ChannelUtilisation(
                    channel=channel.channel,
                    centre_mhz=channel.centre_mhz,
                    busy_share=channel.busy_share,
                    noise_dbm=channel.noise_dbm,
                    mean_dbm=channel.mean_dbm,
                    max_dbm=channel.max_dbm,
                    sample_count=channel.sample_count,
                )
                for channel in channels
            ],
        )

    async def SubscribeAnalyzer(
        self, request: pb.SubscribeAnalyzerRequest, context: Any
    ) -> AsyncIterator[bytes]:
        """Streams events."""
        stream = self._streams.read(*ANALYZER, AnalyzerView, with_source=False)
        with self._detections.wanted():
            async for message in stream:
                yield message

    async def StartRecording(
        self, request: pb.StartRecordingRequest, context: Any
    ) -> pb.StartRecordingResponse:
        """Begins a recording."""
        require(0 <= request.max_bytes <= 2**53, "max_bytes", "a size")
        limits = Limits(int(request.max_bytes) or DEFAULT_MAX_BYTES, request.max_s, request.keep_files)
        recording = await self._recordings.start(request.name, limits, request.radio)
        return pb.StartRecordingResponse(recording=_to_recording(recording))

    async def StopRecording(self, request: pb.StopRecordingRequest, context: Any) -> pb.StopRecordingResponse:
        """Ends a recording."""
        recording = await self._recordings.stop(request.name)
        return pb.StopRecordingResponse(recording=_to_recording(recording))

    async def ListRecordings(
        self, request: pb.ListRecordingsRequest, context: Any
    ) -> pb.ListRecordingsResponse:
        """Lists recordings by name."""
        require(request.page_size <= MAX_PAGE_SIZE, "page_size", f"1 to {MAX_PAGE_SIZE}")
        size = request.page_size or DEFAULT_PAGE_SIZE
        found = await self._recordings.page(request.page_token, size + 1)
        return pb.ListRecordingsResponse(
            recordings=[_to_recording(recording) for recording in found[:size]],
            next_page_token=found[size - 1].name if len(found) > size else "",
        )

    async def DeleteRecording(
        self, request: pb.DeleteRecordingRequest, context: Any
    ) -> pb.DeleteRecordingResponse:
        """Removes a recording."""
        await self._recordings.delete(request.name)
        return pb.DeleteRecordingResponse()

    async def ReadRecording(
        self, request: pb.ReadRecordingRequest, context: Any
    ) -> AsyncIterator[pb.ReadRecordingResponse]:
        """Streams the bytes of a recording."""
        async for data, size in self._recordings.files.read(request.name, request.offset, request.length):
            yield pb.ReadRecordingResponse(data=data, size_bytes=size)


def _to_report(settings: SourceSettings, reader: Reader) -> pb.SourceReport:
    return pb.SourceReport(
        settings=from_settings(settings),
        state=to_event(reader.state),
        samples_per_s=reader.rate.per_s(),
        overflow_count=reader.overflows,
        counts={reason: float(count) for reason, count in reader.counts.items()},
    )


def _to_recording(recording: Recording) -> pb.Recording:
    try:
        kind = KINDS[SourceKind(recording.source_kind)]
    except ValueError:
        kind = pb.SOURCE_KIND_UNSPECIFIED
    return pb.Recording(
        name=recording.name,
        size_bytes=recording.size_bytes,
        start_time=to_timestamp(recording.start_time_s) if recording.start_time_s else None,
        active=recording.active,
        radio=recording.radio,
        source_kind=kind,
        duration_s=recording.duration_s,
        chunk_count=recording.chunk_count,
    )
