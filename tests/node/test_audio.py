"""Sound through a real PulseAudio with a null sink, and what is said where there is none."""

from collections.abc import Iterator

import grpc
import pytest
from paradrop.node.v1 import audio_pb2

from services.common.errors import Unavailable
from services.node.adapters.pulse import PulseAudio
from tests.node.conftest import Node, reason_of
from tests.support.pulse import SINK, running_pulseaudio


@pytest.fixture(scope="module")
def pulse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with running_pulseaudio(tmp_path_factory.mktemp("pulse")) as address:
        patch = pytest.MonkeyPatch()
        patch.setenv("PULSE_SERVER", address)
        yield
        patch.undo()


async def call(node: Node, rpc: str, request) -> object:
    return await getattr(node.audio, rpc)(request, metadata=node.metadata, timeout=20)


@pytest.mark.usefixtures("pulse")
async def test_a_real_sound_server_is_shown_and_controlled(node: Node) -> None:
    info = await call(node, "GetAudioInfo", audio_pb2.GetAudioInfoRequest())
    assert info.server_name == "pulseaudio"
    assert info.default_sink_name == SINK
    (sink,) = (await call(node, "ListSinks", audio_pb2.ListSinksRequest())).sinks
    assert (sink.name, sink.channel_count) == (SINK, 2)
    assert list(sink.channel_list) == ["front-left", "front-right"]
    assert list(sink.volume) == [1.0, 1.0]
    request = audio_pb2.SetSinkVolumeRequest(name=SINK, volume=[0.5, 0.25])
    assert list((await call(node, "SetSinkVolume", request)).volume) == [0.5, 0.25]
    (sink,) = (await call(node, "ListSinks", audio_pb2.ListSinksRequest())).sinks
    assert list(sink.volume) == [0.5, 0.25]
    await call(node, "SetSinkVolume", audio_pb2.SetSinkVolumeRequest(name=SINK, volume=[0.75]))
    (sink,) = (await call(node, "ListSinks", audio_pb2.ListSinksRequest())).sinks
    assert list(sink.volume) == [0.75, 0.75]
    (source,) = (await call(node, "ListSources", audio_pb2.ListSourcesRequest())).sources
    assert source.name == f"{SINK}.monitor"
    await call(node, "SetSourceVolume", audio_pb2.SetSourceVolumeRequest(name=source.name, volume=[0, 1]))
    request = audio_pb2.SetAudioInfoRequest(default_source_name=source.name)
    reply = await call(node, "SetAudioInfo", request)
    assert reply.default_source_name == source.name
    assert not reply.HasField("default_sink_name")
    loaded = await call(node, "LoadAudioModule", audio_pb2.LoadAudioModuleRequest(name="module-loopback"))
    modules = (await call(node, "ListAudioModules", audio_pb2.ListAudioModulesRequest())).modules
    found = [module for module in modules if module.name == "module-loopback"]
    assert [module.index for module in found] == [loaded.index]


@pytest.mark.usefixtures("pulse")
@pytest.mark.parametrize(
    ("rpc", "request_", "reason"),
    [
        ("SetSinkVolume", audio_pb2.SetSinkVolumeRequest(name="nope", volume=[1]), "AUDIO_DEVICE_NOT_FOUND"),
        ("SetSinkVolume", audio_pb2.SetSinkVolumeRequest(name="-h", volume=[1]), "AUDIO_DEVICE_NOT_FOUND"),
        ("SetSinkVolume", audio_pb2.SetSinkVolumeRequest(name=SINK), "VOLUME_INVALID"),
        ("SetSinkVolume", audio_pb2.SetSinkVolumeRequest(name=SINK, volume=[1, 1, 1]), "VOLUME_INVALID"),
        (
            "SetSinkVolume",
            audio_pb2.SetSinkVolumeRequest(name=SINK, volume=[1, 9]),
            "VOLUME_INVALID",
        ),
        ("SetAudioInfo", audio_pb2.SetAudioInfoRequest(default_sink_name="nope"), "AUDIO_DEVICE_NOT_FOUND"),
        ("LoadAudioModule", audio_pb2.LoadAudioModuleRequest(), "AUDIO_MODULE_INVALID"),
        ("LoadAudioModule", audio_pb2.LoadAudioModuleRequest(name="../x"), "AUDIO_MODULE_INVALID"),
        ("LoadAudioModule", audio_pb2.LoadAudioModuleRequest(name="-h"), "AUDIO_MODULE_INVALID"),
        ("LoadAudioModule", audio_pb2.LoadAudioModuleRequest(name="module-nope"), "AUDIO_MODULE_REFUSED"),
    ],
)
async def test_wrong_wishes_are_refused(node: Node, rpc: str, request_, reason: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(node, rpc, request_)
    assert reason_of(raised.value)[1] == reason


async def test_without_a_sound_server_every_call_says_so(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSE_SERVER", "unix:/nonexistent/native")
    for rpc, request in (
        ("GetAudioInfo", audio_pb2.GetAudioInfoRequest()),
        ("ListSinks", audio_pb2.ListSinksRequest()),
        ("LoadAudioModule", audio_pb2.LoadAudioModuleRequest(name="module-loopback")),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(node, rpc, request)
        assert reason_of(raised.value) == ("UNAVAILABLE", "AUDIO_UNAVAILABLE")


async def test_without_the_tool_the_same_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Unavailable, match="pactl"):
        await PulseAudio().info()
