"""Tracing costs nothing while it is off, and says what it lacks."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.common import tracing
from services.common.settings import SettingError, load_settings


@pytest.mark.thorough
def test_without_an_endpoint_nothing_of_it_is_loaded_or_called() -> None:
    program = (
        "import sys, services.common.server, services.common.channels, gateway.bridge.app\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    handler = object()
    assert tracing.traced(handler, "/a.B/C") is handler  # type: ignore[arg-type]
    assert tracing.traced_app(handler) is handler  # type: ignore[arg-type]
    assert tracing.carried() == ()


@pytest.mark.parametrize(
    "text", ["127.0.0.1:4317", "https://x:1", "http://x", "http://x:0", "http://x:1/a\nb"]
)
def test_a_wrong_endpoint_stops_the_start(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingError, match="PARADROP_OTLP_ENDPOINT must be"):
        load_settings({"PARADROP_HOME": str(tmp_path), "PARADROP_OTLP_ENDPOINT": text})


async def test_a_node_without_the_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(SettingError, match=r"install paradrop\[tracing\]"):
        async with tracing.exporting("http://127.0.0.1:4317"):
            pass
