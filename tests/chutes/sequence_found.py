"""What is there after a sequence of changes, compared with the model of it."""

import asyncio
import json
from pathlib import Path

import docker

from tests.chutes.model import SERVICES, Model
from tests.chutes.sequence_node import SequenceNode
from tests.support.auth import Service
from tests.support.engine import BUSYBOX


class Found:
    """Everything that a node and its engine have."""

    def __init__(
        self, model: Model, node: SequenceNode, auth: Service, docker_client: docker.APIClient, home: Path
    ) -> None:
        self.model, self.node, self.auth = model, node, auth
        self.docker, self.home = docker_client, home
        self.asked: list[int] = []
        """The changes that were asked for."""
        self.tokens: dict[str, str] = {}
        """Each token that a chute was seen with, to the chute."""

    async def compare(self) -> None:
        """Compares all that is there with the model."""
        expected = self.model.chutes
        found = (await self.node.call("ListChutes")).chutes
        assert {
            chute.name: (chute.version.number_value, chute.state, chute.environment["COLOUR"])
            for chute in found
        } == {
            name: (chute.version, "running" if chute.runs else "stopped", chute.colour)
            for name, chute in expected.items()
        }
        await self._look_at_history()
        await asyncio.to_thread(self._look_at_engine)
        await asyncio.to_thread(self._look_at_files)
        await self._look_at_tokens()
        await self._look_at_pages()

    async def _look_at_history(self) -> None:
        changes = (await self.node.call("ListChanges", include_ended=True)).changes
        by_users = {change.id for change in changes if change.user.name != "__paradrop__"}
        assert by_users == set(self.asked)

    def _look_at_engine(self) -> None:
        node_id = (self.home / "node-id").read_text()
        everything = {each["Names"][0][1:]: each for each in self.docker.containers(all=True)}
        del everything["foreign"]
        assert set(everything) == self.model.containers()
        for name in everything:
            chute = self.model.chutes[name.partition("-")[0]]
            container = self.docker.inspect_container(name)
            environment = dict(each.split("=", 1) for each in container["Config"]["Env"])
            assert container["State"]["Running"], name
            assert container["Config"]["Labels"]["io.paradrop.node"] == node_id
            assert (environment["VERSION"], environment["COLOUR"]) == (str(chute.version), chute.colour)
        # Two services of the same content have one image with two names.
        tags = [tag for image in self.docker.images() for tag in image["RepoTags"] or ["nameless"]]
        needed = [f"{name}-{service}" for name in self.model.chutes for service in SERVICES[name]]
        assert sorted(tag.partition(":")[0] for tag in tags) == sorted([BUSYBOX.partition(":")[0], *needed])
        networks = {each["Name"] for each in self.docker.networks()}
        assert networks == {"bridge", "host", "none", *self.model.chutes}
        assert not self.docker.volumes()["Volumes"]
        assert self.docker.inspect_container("foreign")["State"]["Running"]

    def _look_at_files(self) -> None:
        chutes = self.model.chutes
        for folder, expected in (("data", set(chutes)), ("system", set(chutes))):
            assert {path.name for path in (self.home / folder).iterdir()} == expected
        for folder in ("uploads", "trash", "kept"):
            assert not list((self.home / folder).iterdir()), folder
        # What the images can be built from again.
        assert len(list((self.home / "work").iterdir())) == len(chutes)
        for name, chute in chutes.items():
            data = self.home / "data" / name
            files = {"kept", *(["update.lock"] if chute.locked else [])}
            assert {path.name for path in data.iterdir()} == files
            assert (data / "kept").read_text() == chute.kept

    async def _look_at_pages(self) -> None:
        """They follow what the engine tells, a moment later."""
        expected = ["web-web"] * ("web" in self.model.running())
        file = self.home.parent / "web" / "clusters.json"
        async with asyncio.timeout(5):
            while [each["name"] for each in json.loads(file.read_text())["resources"]] != expected:
                await asyncio.sleep(0.05)

    async def _look_at_tokens(self) -> None:
        """The token of each chute that runs works, and none that a chute had before."""
        running = await asyncio.to_thread(self._tokens)
        assert set(running.values()) == set(self.model.running())
        self.tokens |= running
        for token in self.tokens:
            # Who tries what is wrong too often is refused whatever they say.
            address = "192.0.2.1" if token in running else "192.0.2.2"
            checked = await self.auth.check(f"Bearer {token}", address)
            assert checked.HasField("ok_response") == (token in running)

    def _tokens(self) -> dict[str, str]:
        containers = map(self.docker.inspect_container, self.model.containers())
        environments = [dict(each.split("=", 1) for each in c["Config"]["Env"]) for c in containers]
        return {each["PARADROP_API_TOKEN"]: each["PARADROP_CHUTE_NAME"] for each in environments}
