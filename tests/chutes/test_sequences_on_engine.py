"""Random sequences of changes on a real engine; service and engine are killed at random moments.

What is there afterwards is compared with the model. Each sequence is drawn from a number, which a failure
names: PARADROP_SEQUENCES="7" plays that one alone, "10-50" many. PARADROP_ROUNDS says how long they are.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import grpc
import pytest

from tests.chutes.model import CHUTES, CREATING, KINDS, SERVICES, Action, Model
from tests.chutes.on_engine import foreign_container
from tests.chutes.sequence_found import Found
from tests.chutes.sequence_node import SequenceNode, ill_reason
from tests.support.auth import service_with
from tests.support.engine import BUSYBOX
from tests.support.own_engine import OwnEngine
from tests.support.part import PartProcess
from tests.support.settings import settings_in

pytestmark = [pytest.mark.engine, pytest.mark.apart, pytest.mark.timeout(600)]

ROUNDS = int(os.environ.get("PARADROP_ROUNDS", "8"))
ENVIRONMENT = {"PARADROP_GRACE_S": "0.3"}
CALM_S = 60.0
RECONNECT = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 200)]


def _seeds() -> list[int]:
    first, _, last = os.environ.get("PARADROP_SEQUENCES", "1-3").partition("-")
    return list(range(int(first), int(last or first) + 1))


@dataclass(frozen=True)
class Trouble:
    """What happens during a round."""

    kind: str
    """"none"; "service" or "engine", which is killed."""
    message: int
    """After so many messages of a change; negative: after a pause, whatever the change does."""
    pause_s: float
    again_s: float | None
    """The service is killed once more, so long after it has been started; None: it is not."""


@dataclass
class Asked:
    """One change of a round."""

    action: Action
    version: int
    change_id: int = 0
    waits: bool = False
    """Whether an update lock must hold it back."""
    waited: bool = False
    squatted: bool = False


class Player:
    """Plays one sequence."""

    def __init__(self, seed: int, node: SequenceNode, found: Found) -> None:
        self.random = random.Random(seed)
        self.key = f"sequence-{seed}"
        self.node, self.found = node, found
        self.model, self.docker, self.home = found.model, found.docker, found.home

    async def play(self, rounds: int) -> None:
        """Does so many rounds, and removes what is there then."""
        await self.node.start()
        for _ in range(rounds):
            await self._round()
            await self._calm()
            await self.found.compare()
        for name in sorted(self.model.chutes):
            await self._changes([Action("delete", name, forced=True)], None)
        await self.found.compare()
        await self.node.stop()

    async def _round(self) -> None:
        chutes = self.random.sample(CHUTES, self.random.choice((1, 1, 2)))
        actions = []
        for action in map(self._draw, chutes):
            if not self.model.allows(action):
                await self._refused(action)
            elif action.kind in ("lock", "unlock"):
                await self.node.set_lock(action.chute, action.kind == "lock")
                self.model.chutes[action.chute].locked = action.kind == "lock"
            else:
                actions.append(action)
        if actions:
            await self._changes(actions, self._draw_trouble())

    def _draw(self, chute: str) -> Action:
        draw = self.random
        count = draw.choice((1, 1, 2))
        # Little can happen to a chute that is not there.
        absent = chute not in self.model.chutes and draw.random() < 0.6
        kind = draw.choice(("install", "import") if absent else KINDS)
        action = Action(kind, chute, draw.random() < 0.3, count=count)
        # A refusal now and then is enough.
        while not self.model.allows(action) and draw.random() < 0.8:
            action = Action(draw.choice(KINDS), chute, action.forced, count=count)
        return action

    def _draw_trouble(self) -> Trouble:
        draw = self.random
        kind = draw.choice(("none", "service", "service", "service", "engine"))
        message = draw.randint(-6, 16)
        again_s = draw.uniform(0.0, 1.5) if draw.random() < 0.3 else None
        return Trouble(kind, message, draw.uniform(0.0, 1.5), again_s)

    async def _refused(self, action: Action) -> None:
        print(f"  {action} must be refused")
        locking = action.kind in ("lock", "unlock")
        call: Awaitable[Any] = (
            self.node.set_lock(action.chute, action.kind == "lock")
            if locking
            else self.node.ask(action, self.model.version + 1, "")
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code().name in ("ALREADY_EXISTS", "NOT_FOUND", "FAILED_PRECONDITION")

    async def _changes(self, actions: list[Action], trouble: Trouble | None) -> None:
        print(f"  {actions} with {trouble}")
        squatters = await self._squatters(actions) if trouble else {}
        asked = []
        for action in actions:
            count = action.count if action.kind in ("update", "restart", "configure") else 1
            for number in range(count):
                self.model.version += 1
                squatted = action.chute in squatters and action.kind in CREATING
                waits = number == 0 and self.model.waits(action)
                asked.append(Asked(action, self.model.version, waits=waits, squatted=squatted))
        breaking = asyncio.create_task(self._break(trouble, asked[0]))
        async with asyncio.TaskGroup() as tasks:
            for chute in {action.chute for action in actions}:
                tasks.create_task(self._ask([each for each in asked if each.action.chute == chute]))
        await breaking
        for each in asked:
            await self._judge(each)
        await asyncio.to_thread(self._remove_squatters, squatters)

    async def _ask(self, changes: list[Asked]) -> None:
        for each in changes:
            each.change_id = await self.node.ask(each.action, each.version, f"{self.key}-{each.version}")
            if each.action.kind == "cancel":
                with suppress(grpc.aio.AioRpcError):  # It may have ended.
                    await self.node.call("CancelChange", change_id=each.change_id)
        self.found.asked += [each.change_id for each in changes]
        for each in changes:
            while (change := await self._change(each.change_id)).status not in ("succeeded", "failed"):
                if change.waiting.reason == "UPDATE_LOCKED":
                    each.waited = True
                    await self.node.set_lock(each.action.chute, locked=False)
                    self.model.chutes[each.action.chute].locked = False
                await asyncio.sleep(0.05)

    async def _change(self, change_id: int) -> Any:
        return (await self.node.call("GetChange", change_id=change_id)).change

    async def _break(self, trouble: Trouble | None, first: Asked) -> None:
        if trouble is None or trouble.kind == "none":
            return
        if trouble.message < 0:
            await asyncio.sleep(trouble.pause_s)
        else:
            await self._message(trouble.message, first)
        if trouble.kind == "engine":
            await self.node.kill_engine(trouble.pause_s)
            return
        await self.node.kill()
        await self.node.start()
        if trouble.again_s is not None:
            await asyncio.sleep(trouble.again_s)
            await self.node.kill()
            await self.node.start()

    async def _message(self, nth: int, asked: Asked) -> None:
        while not asked.change_id:
            await asyncio.sleep(0.005)
        seen = 0
        async for event in self.node.client().stream("WatchChange", change_id=asked.change_id):
            seen += event.HasField("progress")
            if seen > nth:
                return

    async def _judge(self, asked: Asked) -> None:
        change = await self._change(asked.change_id)
        action, reason = asked.action, change.failure.reason
        print(f"    {action.chute} {action.kind} {asked.version}: {change.status} {reason}")
        if change.status == "succeeded":
            assert not asked.squatted
            assert action.kind != "ill"
            assert asked.waited == asked.waits or action.kind == "cancel"
            self.model.done(action, asked.version)
            kept = self.home / "data" / action.chute / "kept"
            if action.kind != "delete" and not kept.exists():
                kept.write_text(self.model.chutes[action.chute].kept)
            return
        allowed = {
            *(["CONTAINER_NAME_TAKEN"] if asked.squatted else []),
            *([ill_reason(asked.version)] if action.kind == "ill" else []),
            *(["CHANGE_CANCELLED"] if action.kind == "cancel" else []),
        }
        assert reason in allowed, change
        assert change.failure.undone, change

    async def _squatters(self, actions: list[Action]) -> dict[str, str]:
        """Lets somebody else have the name of a container now and then; returns chute to their container."""
        taken = {}
        for name in {action.chute for action in actions}:
            if name not in self.model.running() and self.random.random() < 0.15:
                container = f"{name}-{SERVICES[name][-1]}"
                made = await asyncio.to_thread(
                    self.docker.create_container, BUSYBOX, ["true"], name=container
                )
                taken[name] = made["Id"]
        return taken

    def _remove_squatters(self, squatters: dict[str, str]) -> None:
        for container in squatters.values():
            assert self.docker.inspect_container(container)["State"]["Status"] == "created"
            self.docker.remove_container(container)

    async def _calm(self) -> None:
        """Waits until the node has nothing left to do by itself."""
        async with asyncio.timeout(CALM_S):
            while True:
                chutes = (await self.node.call("ListChutes")).chutes
                changes = (await self.node.call("ListChanges")).changes
                if not changes and not any(chute.HasField("deviation") for chute in chutes):
                    return
                await asyncio.sleep(0.1)


@pytest.fixture(scope="module", autouse=True)
def foreign(docker_client: docker.APIClient) -> Iterator[None]:
    with foreign_container(docker_client):
        yield


@pytest.mark.parametrize("seed", _seeds())
async def test_whatever_is_killed_what_is_there_is_what_was_said(
    seed: int, tmp_path: Path, engine: OwnEngine, docker_client: docker.APIClient
) -> None:
    environment = {"DOCKER_HOST": engine.address, **ENVIRONMENT}
    with settings_in(tmp_path / "home", **environment) as settings:
        part = PartProcess("chutes", settings, environment)
        channel = grpc.aio.insecure_channel(settings.addresses["chutes"], RECONNECT)
        async with service_with(settings) as auth, channel:
            token = dict(await auth.login())["authorization"].removeprefix("Bearer ")
            node = SequenceNode(part, engine, channel, token)
            found = Found(Model(), node, auth, docker_client, settings.home / "chutes")
            try:
                await Player(seed, node, found).play(ROUNDS)
            finally:
                await node.kill()
                print(part.output_file.read_text()[-20000:])
