"""The whole service on a real engine, with the real auth service beside it."""

import asyncio
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import docker
import grpc
import pytest
from docker.errors import NotFound

from services.auth.app import running as auth_running
from services.chutes.app import running as chutes_running
from services.common.settings import Settings
from tests.chutes.client import Client, refusal
from tests.chutes.on_engine import IDLE, NOTHING, logged_in, ours, until
from tests.support.engine import (
    BUSYBOX,
    busybox_image,
    chute_tar,
    engine_address,
    running_engine,
    small_chute,
)
from tests.support.settings import settings_in

pytestmark = [pytest.mark.engine, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def docker_client() -> Iterator[docker.APIClient]:
    with running_engine() as address:
        client = docker.APIClient(address, version="auto")
        busybox_image(client)
        yield client
        client.close()


@pytest.fixture
def settings(tmp_path: Path, docker_client: docker.APIClient) -> Iterator[Settings]:
    with settings_in(tmp_path / "home", DOCKER_HOST=engine_address(), PARADROP_GRACE_S="0.5") as settings:
        yield settings


async def test_a_chute_from_upload_to_removal(
    client: Client, name: str, docker_client: docker.APIClient, settings: Settings
) -> None:
    lines = await client.done(await client.upload(chute_tar(small_chute(name, f"echo hello; {IDLE}"))))
    assert any("FROM busybox" in line for line in lines)
    assert await client.chutes() == {name: "running"}
    info = await asyncio.to_thread(docker_client.inspect_container, f"{name}-main")
    assert info["Config"]["Image"] == f"{name}-main:1"
    assert set(info["NetworkSettings"]["Networks"]) == {"bridge", name}
    assert f"PARADROP_CHUTE_NAME={name}" in info["Config"]["Env"]
    data = settings.home / "chutes" / "data" / name
    assert data.stat().st_uid == 999
    (data / "kept").write_text("precious")

    container = info["Id"]
    await client.done(await client.call_id("RestartChute", chute=name))
    info = await asyncio.to_thread(docker_client.inspect_container, f"{name}-main")
    assert info["Id"] != container

    await client.done(await client.call_id("StopChute", chute=name))
    assert await client.chutes() == {name: "stopped"}
    assert ours(docker_client, settings)["containers"] == set()
    assert (data / "kept").read_text() == "precious"

    change_id = await client.call_id("StartChute", chute=name, environment={"COLOUR": "red"})
    await client.done(change_id)
    info = await asyncio.to_thread(docker_client.inspect_container, f"{name}-main")
    assert "COLOUR=red" in info["Config"]["Env"]

    await client.done(await client.call_id("DeleteChute", chute=name))
    assert await client.chutes() == {}
    assert ours(docker_client, settings) == NOTHING
    assert not data.exists()


async def test_an_update_replaces_the_image_and_keeps_the_data(
    client: Client, name: str, docker_client: docker.APIClient, settings: Settings
) -> None:
    await client.done(await client.upload(chute_tar(small_chute(name, IDLE))))
    data = settings.home / "chutes" / "data" / name
    (data / "kept").write_text("precious")
    again = chute_tar(small_chute(name, f"echo second; {IDLE}"))
    change_id = await client.update(name, again)
    await client.done(change_id)
    found = ours(docker_client, settings)
    assert found == {
        "containers": {f"{name}-main"},
        "networks": {name},
        "images": {f"{name}-main:1-{change_id}"},
    }
    assert (data / "kept").read_text() == "precious"
    assert await _past_lines(client, name) == ["second"]


@pytest.mark.parametrize(
    ("dockerfile", "reason"),
    [
        (f"FROM {BUSYBOX}\nRUN echo about to fail; false\n", "IMAGE_BUILD_FAILED"),
        (f"FROM {BUSYBOX}\nCMD echo cannot go on; exit 3\n", "SERVICE_EXITED"),
        (f'FROM {BUSYBOX}\nCMD ["/no/such/program"]\n', "SERVICE_EXITED"),
    ],
)
async def test_a_failed_install_leaves_nothing(
    dockerfile: str,
    reason: str,
    client: Client,
    name: str,
    docker_client: docker.APIClient,
    settings: Settings,
) -> None:
    files = small_chute(name) | {"Dockerfile": dockerfile}
    lines, failure = await client.failed(await client.upload(chute_tar(files)))
    assert failure.reason == reason
    assert lines[-1] == f"Completed create operation on chute {name}: failure"
    assert failure.message in lines[-2]
    assert any(said in line for line in lines for said in ("about to fail", "cannot go on", "No such file"))
    assert await client.chutes() == {}
    assert ours(docker_client, settings) == NOTHING
    chutes = settings.home / "chutes"
    assert [
        path
        for folder in ("data", "system", "work", "uploads", "trash")
        for path in (chutes / folder).iterdir()
    ] == []


async def test_a_failed_update_leaves_the_old_one_running(
    client: Client, name: str, docker_client: docker.APIClient, settings: Settings
) -> None:
    await client.done(await client.upload(chute_tar(small_chute(name, f"echo first; {IDLE}"))))
    before = ours(docker_client, settings)
    broken = small_chute(name) | {"Dockerfile": f"FROM {BUSYBOX}\nCMD exit 3\n"}
    _, failure = await client.failed(await client.update(name, chute_tar(broken)))
    assert failure.reason == "SERVICE_EXITED"
    assert await client.chutes() == {name: "running"}
    assert ours(docker_client, settings) == before


async def test_the_web_port_answers_and_stays_the_same(
    client: Client, name: str, docker_client: docker.APIClient
) -> None:
    serve = "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 8000 -h /www"
    await client.done(await client.upload(chute_tar(small_chute(name, serve, port=8000))))
    port = await _web_port(client, name)
    assert await asyncio.to_thread(_fetch, port) == "hello\n"
    await client.done(await client.call_id("RestartChute", chute=name))
    assert await _web_port(client, name) == port
    assert await asyncio.to_thread(_fetch, port) == "hello\n"


async def test_a_port_in_use_is_told_and_undone(
    client: Client, name: str, docker_client: docker.APIClient, settings: Settings
) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        files = small_chute(name, IDLE)
        files["paradrop.yaml"] = (
            f'name: {name}\nservices:\n  main:\n    requests:\n      port-bindings: {{"80/tcp": {port}}}\n'
        )
        _, failure = await client.failed(await client.upload(chute_tar(files)))
    assert failure.reason == "PORT_TAKEN"
    assert str(port) in failure.message
    assert ours(docker_client, settings) == NOTHING


async def test_logs_follow_a_chute_through_restart_and_end_with_it(client: Client, name: str) -> None:
    await client.done(await client.upload(chute_tar(small_chute(name, f"echo started; {IDLE}"))))
    stream = client.stream("StreamLogs", chute=name, follow=True)
    seen: list[str] = []

    async def read() -> str:
        async for event in stream:
            kind = event.WhichOneof("event")
            if kind == "lines":
                seen.extend(line.message for line in event.lines.lines)
            else:
                seen.append(f"<{kind}>")
            if kind == "end":
                return "ended"
        return "cut off"

    reading = asyncio.create_task(read())
    await until(lambda: seen == ["started", "<synced>"])
    await client.done(await client.call_id("RestartChute", chute=name))
    await until(lambda: seen == ["started", "<synced>", "started"])
    await client.done(await client.call_id("DeleteChute", chute=name))
    assert await asyncio.wait_for(reading, 10) == "ended"
    assert seen == ["started", "<synced>", "started", "<end>"]


async def test_what_is_not_ours_is_never_touched(
    client: Client, name: str, docker_client: docker.APIClient
) -> None:
    container = await asyncio.to_thread(
        docker_client.create_container, BUSYBOX, ["sleep", "1000"], name=f"{name}-main"
    )
    try:
        _, failure = await client.failed(await client.upload(chute_tar(small_chute(name, IDLE))))
        assert failure.reason == "CONTAINER_NAME_TAKEN"
        info = await asyncio.to_thread(docker_client.inspect_container, f"{name}-main")
        assert info["Id"] == container["Id"]
    finally:
        await asyncio.to_thread(docker_client.remove_container, container["Id"], force=True)


async def test_a_chute_that_fell_while_the_service_was_away_is_started_again(
    settings: Settings, name: str, docker_client: docker.APIClient
) -> None:
    async with auth_running(settings):
        async with chutes_running(settings), logged_in(settings) as client:
            await client.done(await client.upload(chute_tar(small_chute(name, IDLE))))
        await asyncio.to_thread(docker_client.remove_container, f"{name}-main", force=True)
        async with chutes_running(settings), logged_in(settings) as client:
            await _until_running(client, name)
            changes = (await client.call("ListChanges", include_ended=True)).changes
            await client.done(changes[0].id)
            assert (changes[0].update_type, changes[0].user.name) == ("restart", "__paradrop__")
            await client.done(await client.call_id("DeleteChute", chute=name))
    with pytest.raises(NotFound):
        await asyncio.to_thread(docker_client.inspect_container, f"{name}-main")


async def test_wrong_states_and_names_are_answered_at_once(client: Client, name: str) -> None:
    await client.done(await client.upload(chute_tar(small_chute(name, IDLE))))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await client.call("StartChute", chute=name)
    assert refusal(error.value) == ("FAILED_PRECONDITION", "CHUTE_RUNNING", "")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await client.upload(chute_tar(small_chute(name)))
    assert refusal(error.value) == ("ALREADY_EXISTS", "CHUTE_EXISTS", "")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await client.call("StopChute", chute="nobody")
    assert refusal(error.value) == ("NOT_FOUND", "CHUTE_NOT_FOUND", "")


async def _past_lines(client: Client, name: str) -> list[str]:
    events = [event async for event in client.stream("StreamLogs", chute=name)]
    assert [event.WhichOneof("event") for event in events][-2:] == ["synced", "end"]
    return [line.message for event in events for line in event.lines.lines]


async def _web_port(client: Client, name: str) -> int:
    chute = (await client.call("GetChute", chute=name)).chute
    (port,) = chute.services["main"].ports
    assert port.container_port == "8000/tcp"
    return port.host_port


def _fetch(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/")
    return connection.getresponse().read().decode()


async def _until_running(client: Client, name: str) -> None:
    async with asyncio.timeout(20):
        while await client.chutes() != {name: "running"}:
            await asyncio.sleep(0.02)


async def test_an_update_that_fails_its_health_check_is_taken_back(
    client: Client, name: str, docker_client: docker.APIClient, settings: Settings
) -> None:
    check = "HEALTHCHECK --interval=1s --timeout=1s --retries=1 CMD test -e /data/well\n"
    well = small_chute(name, f"touch /data/well; {IDLE}")
    well["Dockerfile"] += check
    await client.done(await client.upload(chute_tar(well)))
    before = ours(docker_client, settings)
    ill = small_chute(name, f"rm -f /data/well; {IDLE}")
    ill["Dockerfile"] += check
    _, failure = await client.failed(await client.update(name, chute_tar(ill)))
    assert failure.reason == "SERVICE_UNHEALTHY"
    assert ours(docker_client, settings) == before
    assert await client.chutes() == {name: "running"}


async def test_what_somebody_takes_away_by_hand_comes_back(
    client: Client, name: str, docker_client: docker.APIClient
) -> None:
    await client.done(await client.upload(chute_tar(small_chute(name, IDLE))))
    first = (await asyncio.to_thread(docker_client.inspect_container, f"{name}-main"))["Id"]
    await asyncio.to_thread(docker_client.remove_container, f"{name}-main", force=True)

    async def until_restarts(count: int) -> None:
        async with asyncio.timeout(40):
            while True:
                answer = await client.call("ListChanges", status="succeeded", user="__paradrop__")
                if len(answer.changes) == count:
                    return
                await asyncio.sleep(0.1)

    await until_restarts(1)
    second = (await asyncio.to_thread(docker_client.inspect_container, f"{name}-main"))["Id"]
    assert second != first
    await asyncio.to_thread(docker_client.kill, f"{name}-main")
    await until_restarts(2)
    assert await client.chutes() == {name: "running"}

    async def remove_image() -> None:
        (image,) = await asyncio.to_thread(docker_client.images, f"{name}-main")
        await asyncio.to_thread(docker_client.remove_image, image["RepoTags"][0], force=True)

    # The name of an image goes even while its container runs.
    await remove_image()
    assert "Calling build_image main" in await client.done(await client.call_id("RestartChute", chute=name))
    await client.done(await client.call_id("StopChute", chute=name))
    await remove_image()
    assert "Calling build_image main" in await client.done(await client.call_id("StartChute", chute=name))
    assert await client.chutes() == {name: "running"}


async def test_a_service_that_ignores_sigterm_is_stopped_all_the_same(client: Client, name: str) -> None:
    stubborn = "trap '' TERM; while true; do sleep 1; done"
    await client.done(await client.upload(chute_tar(small_chute(name, stubborn))))
    async with asyncio.timeout(60):
        await client.done(await client.call_id("StopChute", chute=name))
    assert await client.chutes() == {name: "stopped"}


async def test_a_build_that_is_cancelled_leaves_nothing(
    client: Client, name: str, docker_client: docker.APIClient, settings: Settings
) -> None:
    files = small_chute(name, IDLE)
    files["Dockerfile"] = f"FROM {BUSYBOX}\nRUN echo building; sleep 300\n"
    change_id = await client.upload(chute_tar(files))
    async for event in client.stream("WatchChange", change_id=change_id):
        if event.progress.message == "building":
            await client.call("CancelChange", change_id=change_id)
    _, failure = await client.failed(change_id)
    assert failure.reason == "CHANGE_CANCELLED"
    assert ours(docker_client, settings) == NOTHING


def _checked(name: str, version: int, healthy: bool, build: str = "true") -> bytes:
    """Returns a chute with a health check."""
    files = small_chute(name, IDLE)
    check = f"HEALTHCHECK --interval=1s --timeout=1s --retries=1 CMD {'true' if healthy else 'false'}\n"
    described = files["paradrop.yaml"].replace("version: 1", f"version: {version}")
    dockerfile = files["Dockerfile"].replace("\nCMD", f"\nRUN {build}\nCMD") + check
    return chute_tar({"paradrop.yaml": described, "Dockerfile": dockerfile})


async def test_a_dry_run_leaves_the_engine_as_it_is(
    client: Client, name: str, docker_client: docker.APIClient, settings: Settings
) -> None:
    tar = _checked(name, 1, healthy=True)
    assert (await client.send(tar, dry_run=True)).plan.steps
    assert await asyncio.to_thread(ours, docker_client, settings) == NOTHING
    await client.done(await client.upload(tar))
    before = await asyncio.to_thread(ours, docker_client, settings)
    plan = (await client.send(_checked(name, 2, healthy=True), chute=name, dry_run=True)).plan
    assert [step.name for step in plan.steps if step.name == "await_unlock"]
    plan = (await client.send(_checked(name, 2, healthy=True), chute=name, dry_run=True, force=True)).plan
    assert not [step.name for step in plan.steps if step.name == "await_unlock"]
    assert await asyncio.to_thread(ours, docker_client, settings) == before
    chutes = settings.home / "chutes"
    assert list((chutes / "uploads").iterdir()) == []
    # What the chute that runs was built from.
    assert len(list((chutes / "work").iterdir())) == 1


async def test_an_unhealthy_version_gives_way_to_the_one_before(
    client: Client, name: str, docker_client: docker.APIClient, settings: Settings
) -> None:
    await client.done(await client.upload(_checked(name, 1, healthy=True)))
    before = await asyncio.to_thread(ours, docker_client, settings)
    _, failure = await client.failed(await client.update(name, _checked(name, 2, healthy=False)))
    assert failure.reason == "SERVICE_UNHEALTHY"
    assert await asyncio.to_thread(ours, docker_client, settings) == before
    assert await client.chutes() == {name: "running"}


async def test_a_reset_passes_an_update_that_waits_on_its_way(
    client: Client, name: str, settings: Settings
) -> None:
    """The lock is set while the new image is built, so the update has begun when it meets it."""
    await client.done(await client.upload(_checked(name, 1, healthy=True)))
    update = await client.update(name, _checked(name, 2, healthy=True, build="sleep 2"))
    async with asyncio.timeout(60):
        while (await client.call("GetChange", change_id=update)).change.step != "build_image main":
            await asyncio.sleep(0.05)
        await client.call("LockChute", chute=name, reason="measuring")
        while (change := (await client.call("GetChange", change_id=update)).change).step != "await_unlock":
            await asyncio.sleep(0.05)
        while not change.waiting.reason:
            change = (await client.call("GetChange", change_id=update)).change
    assert (change.status, change.waiting.reason) == ("processing", "UPDATE_LOCKED")
    assert "(measuring)" in change.waiting.message
    await client.done(await client.call_id("FactoryReset"))
    # The lock went with the data of the chute; the update, accepted before, installs it anew.
    lines = await client.done(update)
    assert "A change of the whole node ran meanwhile; this one begins anew." in lines
    assert await client.chutes() == {name: "running"}
    assert not (settings.home / "chutes" / "data" / name / "update.lock").exists()
