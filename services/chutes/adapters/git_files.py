"""Fetches one version of a git repository as a tar, without a working tree that could surprise anybody."""

import asyncio
import os
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from services.chutes.adapters.addresses import resolve
from services.chutes.adapters.https_files import Place, basic, too_large
from services.common.errors import DomainError, FailedPrecondition, Unavailable

_DENIED = re.compile(r"Authentication failed|could not read (?:Username|Password)|error: 40[13]|HTTP 40[13]")
_ABSENT = re.compile(
    r"couldn't find remote ref|not our ref|no such remote ref|upload-pack: not our ref", re.I
)
_MISSING = re.compile(r"repository .* not found|error: 404", re.I)
_TOO_LARGE = re.compile(
    r"died of signal 25|File size limit exceeded|file too large|unable to write file|write error", re.I
)


class GitFiles:
    """Runs git, which needs a folder for what it fetches."""

    def __init__(self, trusted: Collection[str], ca_file: Path | None) -> None:
        self._trusted = trusted
        self._ca_file = ca_file

    async def archive(
        self, place: Place, checkout: str | None, folder: Path, tar: Path, max_bytes: int
    ) -> None:
        """Writes a version of a repository to an uncompressed tar; `checkout` is a branch, tag or commit."""
        addresses = await asyncio.to_thread(resolve, place.host, place.port, self._trusted)
        environment = self._environment(place, addresses)
        await self._git(environment, max_bytes, "init", "--quiet", "--bare", str(folder))
        where = ("-C", str(folder))
        wanted = checkout or "HEAD"
        await self._git(
            environment,
            max_bytes,
            *where,
            *(
                "fetch",
                "--quiet",
                "--depth=1",
                "--no-tags",
                "--no-recurse-submodules",
                "--",
                place.url,
                wanted,
            ),
        )
        await self._git(
            environment, max_bytes, *where, "archive", "--format=tar", f"--output={tar}", "FETCH_HEAD"
        )

    def _environment(self, place: Place, addresses: list[str]) -> Mapping[str, str]:
        """Returns git's environment: what it says there, other users cannot read."""
        joined = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
        settings = {
            # Git asks for the address by itself otherwise, and might get another answer.
            "http.curloptResolve": f"{place.host}:{place.port}:{joined}",
            "http.followRedirects": "false",
            "http.lowSpeedLimit": "100",
            "http.lowSpeedTime": "30",
            "core.compression": "0",
            "gc.auto": "0",
            "transfer.fsckObjects": "true",
        }
        if place.credentials is not None:
            settings["http.extraHeader"] = f"Authorization: {basic(place.credentials)}"
        if self._ca_file is not None:
            settings["http.sslCAInfo"] = str(self._ca_file)
        pairs = {f"GIT_CONFIG_KEY_{number}": key for number, key in enumerate(settings)}
        pairs |= {f"GIT_CONFIG_VALUE_{number}": value for number, value in enumerate(settings.values())}
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": "/nonexistent",
            "LC_ALL": "C",
            "GIT_ALLOW_PROTOCOL": "https",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "GIT_CONFIG_COUNT": str(len(settings)),
            **pairs,
        }

    async def _git(self, environment: Mapping[str, str], max_bytes: int, *arguments: str) -> None:
        git, prlimit = [await asyncio.to_thread(shutil.which, name) for name in ("git", "prlimit")]
        if git is None:
            raise FailedPrecondition(
                "git is not installed on this node; install it, or use the address of a tar file.",
                reason="GIT_MISSING",
            )
        # A file size limit that git and its helpers inherit; util-linux is on every Debian.
        limit = [prlimit, f"--fsize={max_bytes}", "--"] if prlimit else []
        process = await asyncio.create_subprocess_exec(
            *limit,
            *(git, *arguments),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _, said = await process.communicate()
        except asyncio.CancelledError:
            os.killpg(process.pid, 9)
            await process.wait()
            raise
        if process.returncode:
            raise _failure(said.decode("utf-8", "replace"), process.returncode, max_bytes)


def _failure(said: str, status: int, max_bytes: int) -> DomainError:
    """Returns what to tell; what git said holds the address and stays unsaid."""
    if _TOO_LARGE.search(said) or status in (-25, 153):
        return too_large(max_bytes)
    if _DENIED.search(said):
        return FailedPrecondition(
            "The server of the repository does not let the node in; see that user and secret are right.",
            reason="DOWNLOAD_DENIED",
        )
    if _ABSENT.search(said):
        return FailedPrecondition(
            "The repository has no such branch, tag or commit; see that checkout is right.",
            reason="DOWNLOAD_CHECKOUT_UNKNOWN",
            field="download.checkout",
        )
    if _MISSING.search(said):
        return FailedPrecondition(
            "There is no repository at this address; see that it is right.", reason="DOWNLOAD_FAILED"
        )
    return Unavailable(
        "The repository cannot be fetched; see that its address is right, and try again later.",
        reason="DOWNLOAD_FAILED",
    )
