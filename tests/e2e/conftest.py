"""The real engine that whole nodes use."""

from collections.abc import Iterator

import docker
import pytest

from tests.support.engine import busybox_image, running_engine


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """An engine that answers, with the image that test chutes are made from."""
    with running_engine() as address:
        client = docker.DockerClient(address)
        try:
            busybox_image(client.api)
            yield client
        finally:
            client.close()
