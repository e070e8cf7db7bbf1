"""Chutes whose files are elsewhere: what they are is known only when the files are here."""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.chutes.domain.change import Request
from services.chutes.domain.chutefile import read_definition
from services.chutes.domain.chuteforms import OLD_KEYS
from services.chutes.domain.errors import chute_name_mismatch
from services.chutes.domain.folderport import Folders
from services.chutes.domain.policy import NodePolicy
from services.chutes.domain.ports import Fetcher, OnLine
from services.chutes.domain.spec import Definition, Download

STEP = "download_chute_files"
DEADLINE_S = 1800.0
PREVIEW_DEADLINE_S = 50.0


async def fetched(
    request: Request, download: Download, fetcher: Fetcher, folders: Folders, policy: NodePolicy, say: OnLine
) -> Request:
    """Fetches the files of a chute and returns the request as if they had been sent with it."""
    workspace = secrets.token_hex(8)
    said = await fetcher.fetch(download, workspace, say)
    try:
        definition = described(request.document or {}, said)
        if definition.spec.name != request.chute:
            raise chute_name_mismatch(definition.spec.name, request.chute)
        policy.require_allowed(definition.spec)
    except BaseException:
        await folders.remove_workspace(workspace)
        raise
    return replace(
        request,
        spec=definition.spec,
        workspace=workspace,
        download=None,
        document=None,
        credentials={**definition.credentials, **request.credentials},
    )


def described(document: Mapping[str, Any], said: Mapping[str, Any] | None) -> Definition:
    """Returns what a chute is by what was said of it and, for the rest, by its own file."""
    rest = {key: value for key, value in (said or {}).items() if key != "download"}
    if "services" in document:
        rest = {key: value for key, value in rest.items() if key not in (*OLD_KEYS, "config")}
    elif "services" in rest:
        # A name in "config" has done its service.
        document = {key: value for key, value in document.items() if key != "config"}
    return read_definition({**rest, **document})
