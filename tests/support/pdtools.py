"""The original command line client in an environment of its own, driven like a person at a terminal does."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pexpect

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "pdtools.lock"
ENVIRONMENT = ROOT / "build" / "pdtools"
COMMAND_TIMEOUT_S = 90
WALK = """
import click
from pdtools.__main__ import root

def walk(command, path):
    if not isinstance(command, click.Group) or command.invoke_without_command:
        print(*path)
    for name in getattr(command, "commands", ()):
        walk(command.commands[name], [*path, name])

walk(root, [])
"""


class PdtoolsFailed(AssertionError):
    """A command ended with an error; the message holds what it printed."""


def install_pdtools() -> Path:
    """Installs the locked client once and returns its command."""
    stamp = ENVIRONMENT / "installed"
    wanted = sha256(LOCK.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        pip = [ENVIRONMENT / "bin" / "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run([*pip, "--requirement", LOCK], check=True)
        stamp.write_text(wanted)
    return ENVIRONMENT / "bin" / "pdtools"


def commands() -> list[str]:
    """Returns every command that the client itself knows, such as "node list-chutes"."""
    python = install_pdtools().with_name("python")
    told = subprocess.run(
        [python, "-W", "ignore", "-c", WALK], check=True, capture_output=True, text=True, timeout=60
    )
    return told.stdout.splitlines()


class Pdtools:
    """Runs commands against one node with a home folder of its own, where the token is saved."""

    def __init__(self, command: Path, target: str, home: Path) -> None:
        self._command = str(command)
        self.ran: list[tuple[str, ...]] = []
        """The arguments of each command so far."""
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PDTOOLS_NODE_TARGET": target,
            "PYTHONWARNINGS": "ignore",
            # The real controller must not be asked by a test.
            "PDSERVER_URL": "http://127.0.0.1:9",
            "LC_ALL": "C.UTF-8",
        }

    def run(
        self,
        *arguments: str,
        answers: dict[str, str] | None = None,
        cwd: Path | None = None,
        editor: Path | None = None,
        programs: Path | None = None,
    ) -> str:
        """Runs a command to its end, answering its prompts, and returns what it printed.

        A prompt that is not in `answers` fails at once: a saved token that is accepted asks nothing.
        Programs of a folder stand before those of the system.
        """
        self.ran.append(arguments)
        environment = dict(self._environment)
        if editor:
            environment["EDITOR"] = str(editor)
        if programs:
            environment["PATH"] = f"{programs}:{environment['PATH']}"
        child = pexpect.spawn(
            self._command,
            list(arguments),
            env=environment,
            cwd=str(cwd) if cwd else None,
            timeout=COMMAND_TIMEOUT_S,
            encoding="utf-8",
            dimensions=(50, 400),
        )
        prompts = {"New password: ": None, "Confirm password: ": None, "Password: ": None, "Username: ": None}
        prompts.update(answers or {})
        patterns = [*prompts, pexpect.EOF]
        printed = []
        try:
            while True:
                index = child.expect_exact(patterns)
                printed.append(child.before or "")
                if index == len(prompts):
                    break
                answer = prompts[patterns[index]]
                if answer is None:
                    raise PdtoolsFailed(f"{arguments} asked {patterns[index]!r} after {''.join(printed)!r}")
                child.sendline(answer)
        except pexpect.TIMEOUT:
            raise PdtoolsFailed(f"{arguments} did not end; it printed {child.before!r}") from None
        finally:
            child.close(force=True)
        output = "".join(printed)
        if child.exitstatus != 0 or "Traceback" in output:
            raise PdtoolsFailed(f"{arguments} ended with {child.exitstatus}: {output}")
        return output

    def follow(self, *arguments: str, until: str, meanwhile: Callable[[], None] | None = None) -> str:
        """Runs a command that does not end by itself until it prints a text, then interrupts it.

        `meanwhile` is called again each second until then.
        """
        self.ran.append(arguments)
        child = pexpect.spawn(
            self._command, list(arguments), env=self._environment, timeout=COMMAND_TIMEOUT_S, encoding="utf-8"
        )
        deadline_s = time.monotonic() + COMMAND_TIMEOUT_S
        try:
            while child.expect_exact([until, pexpect.TIMEOUT], timeout=1 if meanwhile else -1):
                if meanwhile is None or time.monotonic() > deadline_s:
                    raise PdtoolsFailed(f"{arguments} never printed {until!r}: {child.before!r}")
                meanwhile()
            return f"{child.before}{until}"
        except pexpect.EOF:
            raise PdtoolsFailed(f"{arguments} never printed {until!r}: {child.before!r}") from None
        finally:
            child.close(force=True)
