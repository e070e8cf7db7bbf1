"""Finds and removes what the node left on its engine."""

from collections.abc import Collection, Mapping
from typing import Any

import docker
import structlog
from docker.errors import APIError, NotFound

from services.chutes.adapters import docker_containers, docker_images, docker_networks
from services.chutes.adapters.docker_labels import CHUTE, NODE, SERVICE, is_build_container
from services.common.errors import DomainError

log = structlog.get_logger()


class Sweep:
    """One sweep over what has the node's label; blocking."""

    def __init__(
        self,
        client: docker.APIClient,
        node_id: str,
        keep: Mapping[str, Collection[str]],
        chutes: Collection[str] | None,
        building: Collection[str] = (),
    ) -> None:
        self._client = client
        self._filters = {"label": f"{NODE}={node_id}"}
        self._keep = {kind: set(keep.get(kind, ())) for kind in ("containers", "networks", "images")}
        self._chutes = None if chutes is None else set(chutes)
        self._building = set(building)
        """Chutes whose builds go on: what looks like leftovers of theirs is work in progress."""

    def run(self) -> None:
        """Removes containers first: they hold on to the rest."""
        self._containers()
        self._networks()
        self._tags()
        self._layers()

    def _swept(self, thing: Mapping[str, Any]) -> bool:
        chute = thing["Labels"].get(CHUTE)
        return self._chutes is None or chute in self._chutes

    def _in_progress(self, thing: Mapping[str, Any]) -> bool:
        return thing["Labels"].get(CHUTE) in self._building

    def _containers(self) -> None:
        for summary in self._client.containers(all=True, filters=self._filters):
            names = {name[1:] for name in summary.get("Names") or ()}
            if not self._swept(summary) or names & self._keep["containers"]:
                continue
            if SERVICE in summary["Labels"] or self._is_build_leftover(summary):
                log.info("removing a leftover container", container=summary["Id"], names=sorted(names))
                docker_containers.remove_by_id(self._client, summary["Id"])

    def _is_build_leftover(self, summary: Mapping[str, Any]) -> bool:
        found = None if self._in_progress(summary) else docker_containers.find(self._client, summary["Id"])
        return found is not None and is_build_container(found["Config"])

    def _networks(self) -> None:
        for network in self._client.networks(filters=self._filters):
            if not self._swept(network) or network["Name"] in self._keep["networks"]:
                continue
            log.info("removing a leftover network", network=network["Name"])
            try:
                docker_networks.remove_by_id(self._client, network["Id"], network["Name"])
            except DomainError as error:
                log.warning("a leftover network stays", network=network["Name"], why=str(error))

    def _tags(self) -> None:
        for image in self._client.images(filters=self._filters):
            if not self._swept(image):
                continue
            chute = image["Labels"].get(CHUTE, "")
            for tag in image["RepoTags"] or ():
                if tag not in self._keep["images"] and docker_images.is_tag_of(chute, tag):
                    log.info("removing a leftover image", image=tag)
                    docker_images.remove_tag(self._client, tag)

    def _layers(self) -> None:
        """Removes untagged images; each round bares the layers below."""
        stuck: set[str] = set()
        while True:
            listed = self._client.images(filters={**self._filters, "dangling": True})
            swept = {image["Id"] for image in listed if self._swept(image) and not self._in_progress(image)}
            found = swept - stuck
            if not found:
                return
            for image in found:
                stuck.add(image)
                try:
                    self._client.remove_image(image)
                except NotFound:
                    continue
                except APIError as error:
                    log.info("a leftover layer stays", image=image, why=str(error))
