"""A real PulseAudio of a test's own, with a sink that plays to nobody."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SINK = "test.sink-0"
START_TIMEOUT_S = 10


@contextmanager
def running_pulseaudio(home: Path) -> Iterator[str]:
    """Runs a sound server and yields its address, as PULSE_SERVER takes it."""
    missing = [tool for tool in ("pulseaudio", "pactl") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{missing} missing; .ci/run installs them")
    command = [
        "pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no",
        f"--load=module-native-protocol-unix socket={home}/native auth-anonymous=1",
        f"--load=module-null-sink sink_name={SINK} channels=2",
    ]  # fmt: skip
    environment = os.environ | {"HOME": str(home), "PULSE_RUNTIME_PATH": str(home / "run")}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            deadline_s = time.monotonic() + START_TIMEOUT_S
            while not (home / "native").exists():
                assert process.poll() is None, "pulseaudio ended"
                assert time.monotonic() < deadline_s
                time.sleep(0.05)
            yield f"unix:{home}/native"
        finally:
            process.terminate()
