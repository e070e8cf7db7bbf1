"""A base image for light chutes of every language, whose tools note what they are asked and what they see."""

import io

import docker

from tests.support.engine import BUSYBOX, chute_tar

TOOLCHAIN_IMAGE = "paradrop-test-toolchain:1"
STEPS_FILE = "/steps"
_TOOLS = ("apt-get", "go", "gradle", "mvn", "npm", "pip")
_TOOL = '#!/bin/sh\necho "$(basename "$0") $*; sees" $(ls) >>/steps\n'


def toolchain_image(client: docker.APIClient) -> str:
    """Makes the image and returns its tag; the languages themselves are in no image that a test can have."""
    files = {
        "Dockerfile": f"FROM {BUSYBOX}\nCOPY tool /tool\n"
        f"RUN for tool in {' '.join(_TOOLS)}; do cp /tool /bin/$tool && chmod 755 /bin/$tool; done"
        " && cp /tool /bin/becomes-root && chmod 4755 /bin/becomes-root\n",
        "tool": _TOOL,
    }
    output = client.build(
        fileobj=io.BytesIO(chute_tar(files)), custom_context=True, tag=TOOLCHAIN_IMAGE, rm=True
    )
    log = b"".join(output)
    assert b"Successfully tagged" in log, log
    return TOOLCHAIN_IMAGE
