"""Requests for the fuzzer whose rules a JSON Schema cannot tell: what it takes for good has to be good."""

import copy
import os
from collections.abc import Callable
from typing import Any

import schemathesis

from tests.chutes.archives import make_archive
from tests.network.documents import EXAMPLE

CONTROLLER = "FUZZ_CONTROLLER"
"""Setting with the address of a controller that answers."""
CHUTE = {"name": "fuzz", "services": {"main": {"type": "image", "image": "fuzz:1"}}}
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea fuzz"
SCENARIO = "devices: []\n"


def _fill(body: Any, **values: Any) -> Any:
    return {**body, **values}


BODIES: dict[str, Callable[[Any], Any]] = {
    "POST /api/v1/changes": lambda _: {"updateClass": "CHUTE", "updateType": "stop", "name": "fuzz"},
    "POST /api/v1/chutes": lambda body: _fill(body, config=CHUTE),
    "PUT /api/v1/chutes/{chute}": lambda body: _fill(
        body, config={key: value for key, value in CHUTE.items() if key != "name"}
    ),
    "POST /api/v1/chutes/import": lambda _: make_archive(),
    "PUT /api/v1/config/hostconfig": lambda _: copy.deepcopy(EXAMPLE),
    "POST /api/v1/config/provision": lambda _: {
        "routerId": "r1",
        "apitoken": "t0ken",
        "pdserver": os.environ[CONTROLLER],
    },
    "POST /api/v1/config/sshKeys/{user}": lambda _: {"key": SSH_KEY},
    "PUT /api/v1/airshark/source": lambda _: {"kind": "SOURCE_KIND_SIMULATED", "scenario": SCENARIO},
    "PUT /api/v1/airshark/sources": lambda _: {
        "settings": {"kind": "SOURCE_KIND_SIMULATED", "scenario": SCENARIO}
    },
}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Puts a good document in the place of one that is good as far as its schema tells."""
    fill = BODIES.get(case.operation.label)
    if fill and case.meta is not None and case.meta.generation.mode.is_positive:
        case.body = fill(case.body)
