"""A short run of the fuzzer from the recordings on; more of it: see tests/airshark/fuzz.py."""

from pathlib import Path

import pytest

from services.airshark.domain import container
from tests.support import captures
from tests.support.captures import capture
from tests.support.fuzzing import fuzz

pytestmark = pytest.mark.thorough


def test_nothing_that_a_fuzzer_makes_up_hurts(tmp_path: Path) -> None:
    writer = container.Writer()
    recording = writer.begin(container.Header("phy0", "hardware", "", 1.0, {}))
    recording += writer.chunk(capture(captures.AR9223)[:760], 1.0) + writer.end()
    contents = {name: capture(name)[:4095] for name in captures.ALL} | {"recording": recording}
    seeds = {name: b"\x50" + content for name, content in contents.items()}
    fuzz(Path(__file__).with_name("fuzz.py"), seeds, tmp_path, max_len=6000)
