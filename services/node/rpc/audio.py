"""Answers AudioService."""

from typing import Any

from paradrop.node.v1 import audio_pb2 as pb
from paradrop.node.v1 import audio_pb2_grpc

from services.node.domain.audio import Audio, Device, SoundServer
from services.node.rpc.pages import page

AUDIO_SERVICE = pb.DESCRIPTOR.services_by_name["AudioService"]


class AudioServicer(audio_pb2_grpc.AudioServiceServicer):
    """Sound modules, sinks and sources."""

    def __init__(self, server: SoundServer) -> None:
        self._server = server
        self._audio = Audio(server)

    async def GetAudioInfo(self, request: pb.GetAudioInfoRequest, context: Any) -> pb.GetAudioInfoResponse:
        """Returns what the sound server tells about itself."""
        info = await self._server.info()
        return pb.GetAudioInfoResponse(
            default_sink_name=info.default_sink_name,
            default_source_name=info.default_source_name,
            host_name=info.host_name,
            server_name=info.server_name,
            server_version=info.server_version,
            user_name=info.user_name,
        )

    async def SetAudioInfo(self, request: pb.SetAudioInfoRequest, context: Any) -> pb.SetAudioInfoResponse:
        """Sets the defaults."""
        sink = request.default_sink_name if request.HasField("default_sink_name") else None
        source = request.default_source_name if request.HasField("default_source_name") else None
        await self._audio.set_defaults(sink, source)
        return pb.SetAudioInfoResponse(default_sink_name=sink, default_source_name=source)

    async def ListAudioModules(
        self, request: pb.ListAudioModulesRequest, context: Any
    ) -> pb.ListAudioModulesResponse:
        """Lists the loaded modules."""
        modules = [
            pb.AudioModule(index=module.index, n_used=module.n_used, name=module.name)
            for module in await self._server.modules()
        ]
        wanted, token = page(modules, request.page_size, request.page_token)
        return pb.ListAudioModulesResponse(modules=wanted, next_page_token=token)

    async def LoadAudioModule(
        self, request: pb.LoadAudioModuleRequest, context: Any
    ) -> pb.LoadAudioModuleResponse:
        """Loads a module."""
        index = await self._audio.load_module(request.name)
        return pb.LoadAudioModuleResponse(index=index, name=request.name)

    async def ListSinks(self, request: pb.ListSinksRequest, context: Any) -> pb.ListSinksResponse:
        """Lists the sinks."""
        sinks = [_to_device(device) for device in await self._server.devices("sink")]
        wanted, token = page(sinks, request.page_size, request.page_token)
        return pb.ListSinksResponse(sinks=wanted, next_page_token=token)

    async def SetSinkVolume(self, request: pb.SetSinkVolumeRequest, context: Any) -> pb.SetSinkVolumeResponse:
        """Sets the volume of a sink."""
        await self._audio.set_volume("sink", request.name, request.volume)
        return pb.SetSinkVolumeResponse(volume=request.volume)

    async def ListSources(self, request: pb.ListSourcesRequest, context: Any) -> pb.ListSourcesResponse:
        """Lists the sources."""
        sources = [_to_device(device) for device in await self._server.devices("source")]
        wanted, token = page(sources, request.page_size, request.page_token)
        return pb.ListSourcesResponse(sources=wanted, next_page_token=token)

    async def SetSourceVolume(
        self, request: pb.SetSourceVolumeRequest, context: Any
    ) -> pb.SetSourceVolumeResponse:
        """Sets the volume of a source."""
        await self._audio.set_volume("source", request.name, request.volume)
        return pb.SetSourceVolumeResponse(volume=request.volume)


def _to_device(device: Device) -> pb.AudioDevice:
    return pb.AudioDevice(
        index=device.index,
        name=device.name,
        description=device.description,
        channel_count=len(device.channels),
        channel_list=device.channels,
        volume=device.volume,
    )
