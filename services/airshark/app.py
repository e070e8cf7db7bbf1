"""Builds the airshark service and serves it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial

import grpc
from paradrop.airshark.v1.detections_pb2_grpc import add_DetectionServiceServicer_to_server

from services.airshark.adapters.chosen import ChosenSource, make_source
from services.airshark.adapters.detection_store import MIGRATIONS, AnalysisSettingsFile, DetectionStore
from services.airshark.adapters.recordings import Recordings
from services.airshark.domain.detections import DetectionDesk
from services.airshark.domain.gauges import gauges
from services.airshark.domain.pipeline import Pipeline
from services.airshark.domain.radio import RadioDesk
from services.airshark.domain.utilisation import UtilisationDesk
from services.airshark.domain.views import Views
from services.airshark.rpc.analyzer_view import analyzer_event
from services.airshark.rpc.detection_messages import to_event
from services.airshark.rpc.detections import SERVICE as DETECTION_SERVICE
from services.airshark.rpc.detections import DetectionServicer
from services.airshark.rpc.handlers import add_to_server
from services.airshark.rpc.servicer import ANALYZER, SERVICE, AirsharkServicer
from services.airshark.rpc.streams import Streams
from services.common.database import Database
from services.common.identity import TokenVerifier
from services.common.server import serving
from services.common.settings import Settings
from services.common.tls import Certificate, certificate_of

SERVICE_NAMES = [SERVICE.full_name, DETECTION_SERVICE.full_name]


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Certificate | None]:
    """Serves for the time of the context; the source is read only while somebody wants samples."""
    home = await asyncio.to_thread(settings.state_dir, "airshark")
    pipeline = Pipeline()
    recordings = Recordings(home / "recordings", pipeline)
    given = settings.spectrum_recording
    name = await asyncio.to_thread(recordings.files.give, given) if given is not None else ""
    chosen = ChosenSource(home / "source.json", settings.spectrum_scenario, name)
    desk = RadioDesk(pipeline, chosen, partial(make_source, recordings=recordings.files))
    views = Views(pipeline)
    database = await asyncio.to_thread(Database, home / "detections.sqlite3", MIGRATIONS, "NORMAL")
    history = DetectionStore(database)
    detections = DetectionDesk(pipeline, history, AnalysisSettingsFile(home / "analysis.json"))
    detections.listeners.append(lambda event: views.tell(ANALYZER, analyzer_event(to_event(event))))
    servicer = AirsharkServicer(
        pipeline, desk, Streams(views, pipeline), UtilisationDesk(pipeline), recordings, detections
    )

    def register(server: grpc.aio.Server) -> None:
        add_to_server(servicer, SERVICE, server)
        add_DetectionServiceServicer_to_server(DetectionServicer(detections, history), server)

    verifier = TokenVerifier(settings.public_dir)
    certificate = await asyncio.to_thread(certificate_of, settings)
    with closing(database):
        async with pipeline.running():
            await desk.open()
            try:
                async with (
                    detections.open(),
                    serving(
                        settings.addresses["airshark"],
                        SERVICE_NAMES,
                        register,
                        verifier,
                        lambda: gauges(pipeline, detections),
                        certificate=certificate,
                    ),
                ):
                    try:
                        yield certificate
                    finally:
                        views.close()
                        detections.feed.close()
            finally:
                await recordings.close()
