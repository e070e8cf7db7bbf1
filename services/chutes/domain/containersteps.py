"""The steps that take containers down and bring them up."""
# ruff: noqa: D102 (`Step` says what every do and undo is.)

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from services.chutes.domain.chute import Chute
from services.chutes.domain.containers import container_plan
from services.chutes.domain.deviation import may_rest
from services.chutes.domain.imagesteps import bring_back_image
from services.chutes.domain.steps import Run, ServiceStep, Step
from services.common.errors import DomainError, FailedPrecondition, Unavailable

LAST_LINES = 40
HEALTH_DEADLINE_S = 300.0
VERIFY_INTERVAL_S = 0.5


@dataclass(frozen=True)
class AwaitUnlock(Step):
    """Waits until the chute does not mind any more that its containers are taken down."""

    label = "await_unlock"
    deadline_s = None  # The chute decides; its owner may end the lock or cancel the change.
    chute: str

    async def do(self, run: Run) -> None:
        await run.unlocked(self.chute)


@dataclass(frozen=True)
class RemoveContainer(ServiceStep):
    """Removes a container of the chute as it was; undone, it is made again and runs if it ran."""

    label = "remove_container"
    chute: Chute
    service: str
    status: str
    """What the engine said before the change."""
    host_ports: Mapping[str, int]

    async def do(self, run: Run) -> None:
        container = self.chute.containers[self.service]
        await tell_last_lines(run, container, self.service)
        await run.engine.remove_container(container)

    async def undo(self, run: Run) -> None:
        await bring_back_image(run, self.chute, self.service)
        plan = container_plan(
            self.chute, self.service, self.chute.token, run.folders, run.node, self.host_ports
        )
        await run.engine.create_container(plan)
        if self.status == "running":
            await run.engine.start_container(plan.name)


@dataclass(frozen=True)
class CreateContainer(ServiceStep):
    """Creates a container of the chute as it will be."""

    label = "create_container"
    chute: Chute
    service: str
    host_ports: Mapping[str, int]

    async def do(self, run: Run) -> None:
        run.policy.require_allowed(self.chute.spec)
        await run.engine.create_container(
            container_plan(self.chute, self.service, run.token, run.folders, run.node, self.host_ports)
        )

    async def undo(self, run: Run) -> None:
        await run.engine.remove_container(self.chute.containers[self.service])


@dataclass(frozen=True)
class StartContainer(ServiceStep):
    """Starts a container; undone by the undo of its creation."""

    label = "start_container"
    chute: Chute
    service: str

    async def do(self, run: Run) -> None:
        clock = asyncio.get_running_loop().time
        begin_s = clock()
        await run.engine.start_container(self.chute.containers[self.service])
        run.slowest_start_s = max(run.slowest_start_s, clock() - begin_s)


@dataclass(frozen=True)
class VerifyRunning(Step):
    """Fails unless all containers stay up, and are healthy where their images say what that is."""

    label = "verify_running"
    deadline_s = None  # The images say how long a health check may take; there is a limit of its own.
    chute: Chute
    replaces: bool = False
    """Whether there is an earlier version to go back to, so that it is worth to look longer."""
    proven: bool = False
    """Whether this very thing has run before, so that one look is enough."""
    untouched: tuple[str, ...] = ()
    """Services that the change leaves alone: how they ended before is not its failure."""

    async def do(self, run: Run) -> None:
        clock = asyncio.get_running_loop().time
        settled_s = clock()
        if not self.proven:
            settled_s += max(run.grace_s if self.replaces else run.settle_s, run.slowest_start_s)
        deadline_s = clock() + HEALTH_DEADLINE_S
        while True:
            await asyncio.sleep(max(0.0, min(VERIFY_INTERVAL_S, settled_s - clock())))
            await run.engine.refresh()
            starting = await self._not_yet_healthy(run)
            if not starting and clock() >= settled_s:
                return
            if clock() >= deadline_s:
                raise await self._failed(run, starting[0], "SERVICE_UNHEALTHY", "does not become healthy")
            if clock() >= settled_s:
                await asyncio.sleep(VERIFY_INTERVAL_S)

    async def _not_yet_healthy(self, run: Run) -> list[str]:
        states = run.engine.containers()
        if states is None:
            raise Unavailable("The container engine does not answer.", reason="ENGINE_DOWN")
        starting = []
        for service, container in self.chute.containers.items():
            if service in self.untouched:
                continue
            state = states.get(container)
            if state is None:
                raise await self._failed(run, service, "SERVICE_EXITED", "is gone right after its start")
            if state.status == "running":
                if state.health == "unhealthy":
                    raise await self._failed(run, service, "SERVICE_UNHEALTHY", "fails its health check")
                if state.health == "starting":
                    starting.append(service)
            elif state.exit_code != 0 or not may_rest(self.chute.spec.services[service], state):
                how = f"ended with status {state.exit_code} right after its start"
                raise await self._failed(run, service, "SERVICE_EXITED", how)
        return starting

    async def _failed(self, run: Run, service: str, reason: str, how: str) -> FailedPrecondition:
        await tell_last_lines(run, self.chute.containers[service], service)
        return FailedPrecondition(
            f"Service {service} {how}; the messages of the change show its last lines.",
            reason=reason,
            service=service,
        )


async def tell_last_lines(run: Run, container: str, service: str) -> None:
    """Adds the last output of a container to the messages, as far as it can be had."""
    try:
        async with run.engine.logs(container, service, tail=LAST_LINES, follow=False) as batches:
            async for batch in batches:
                for line in batch:
                    run.say(f"{container}: {line.message}")
    except DomainError as error:
        run.say(f"{container}: its output cannot be read: {error}")
