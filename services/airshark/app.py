"""Builds the airshark service and serves it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import grpc

from services.airshark.adapters.chosen import ChosenSource, make_source
from services.airshark.adapters.recordings import Recordings
from services.airshark.domain.pipeline import Pipeline
from services.airshark.domain.radio import RadioDesk
from services.airshark.domain.utilisation import UtilisationDesk
from services.airshark.domain.views import Views
from services.airshark.rpc.handlers import add_to_server
from services.airshark.rpc.servicer import SERVICE, AirsharkServicer
from services.airshark.rpc.streams import Streams
from services.common.identity import TokenVerifier
from services.common.server import serving
from services.common.settings import Settings


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[None]:
    """Serves for the time of the context; the source is read only while somebody wants samples."""
    home = await asyncio.to_thread(settings.state_dir, "airshark")
    pipeline = Pipeline()
    recordings = Recordings(home / "recordings", pipeline)
    desk = RadioDesk(
        pipeline, ChosenSource(home / "source.json"), partial(make_source, recordings=recordings)
    )
    views = Views(pipeline)
    # Whoever else wants decoded blocks, as a detector does, is a `Consumer`: `pipeline.consuming(it)` hands
    # it everything and makes the source run, so it does that only while its results are wanted.
    servicer = AirsharkServicer(
        pipeline, desk, Streams(views, pipeline), UtilisationDesk(pipeline), recordings
    )

    def register(server: grpc.aio.Server) -> None:
        add_to_server(servicer, SERVICE, server)

    verifier = TokenVerifier(settings.public_dir)
    async with pipeline.running():
        await desk.open()
        try:
            async with serving(settings.addresses["airshark"], [SERVICE.full_name], register, verifier):
                try:
                    yield
                finally:
                    views.close()
        finally:
            await recordings.close()
