"""What is wrong with what somebody asks for, whatever is installed."""

from collections.abc import Mapping
from typing import Any

from services.chutes.domain import chutefields
from services.chutes.domain.spec import ChuteSpec
from services.common.errors import InvalidArgument

MAX_ENVIRONMENT_VARIABLES = 200
MAX_ENVIRONMENT_CHARACTERS = 32 * 1024


def require_images(spec: ChuteSpec) -> None:
    """Refuses a chute without files if some of its services are built from files."""
    for name, service in spec.services.items():
        if service.type != "image":
            raise InvalidArgument(
                f"Service {name} is of the type {service.type} and built from files, and there are none; "
                "send the chute as a tar with content type application/x-tar, or say with download where "
                "they are.",
                reason="CHUTE_FILES_MISSING",
                field=f"services.{name}.type",
                service=name,
            )


def read_environment(given: Mapping[str, Any]) -> dict[str, str]:
    """Returns an environment whose values are given as in a paradrop.yaml, or raises which is wrong."""
    for name, value in given.items():
        if isinstance(value, dict | list):
            raise InvalidArgument(
                f"The variable {name!r} of an environment must be a text, a number or a boolean.",
                reason="ENVIRONMENT_INVALID",
                field=f"environment.{name}",
            )
    return chutefields.environment(given)


def check_environment(environment: Mapping[str, str]) -> None:
    """Refuses an environment that no container can have."""
    if len(environment) > MAX_ENVIRONMENT_VARIABLES:
        raise InvalidArgument(
            f"An environment has at most {MAX_ENVIRONMENT_VARIABLES} variables.",
            reason="ENVIRONMENT_TOO_LARGE",
            field="environment",
        )
    if sum(len(name) + len(value) for name, value in environment.items()) > MAX_ENVIRONMENT_CHARACTERS:
        raise InvalidArgument(
            f"An environment has at most {MAX_ENVIRONMENT_CHARACTERS} characters.",
            reason="ENVIRONMENT_TOO_LARGE",
            field="environment",
        )
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name + value:
            raise InvalidArgument(
                f"{name!r} cannot be a variable of an environment: names are not empty and have no '=', and "
                "neither names nor values have NUL characters.",
                reason="ENVIRONMENT_INVALID",
                field=f"environment.{name}",
            )
