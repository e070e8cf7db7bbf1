"""The commands of `paradrop airshark` on files and on a running service."""

import asyncio
import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from services.airshark.adapters.files import FileKind, probe
from services.airshark.adapters.recording_files import summary
from services.cli import main
from tests.support import captures
from tests.support.airshark import Shark, until
from tests.support.captures import CAPTURES, capture, decode

CAMERA = str(CAPTURES / captures.AR9223)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["airshark", *map(str, arguments)])


def succeed(*arguments: object) -> bytes:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout_bytes


def test_info_tells_what_a_file_holds() -> None:
    found = json.loads(succeed("info", CAPTURES / captures.AR9550, "--json"))
    assert found["samples"] == 798
    assert found["kinds"] == {"ht20 with 56 bins": 676, "ht40 with 128 bins": 122}
    assert found["centres_mhz"] == [2412, 2442, 2452]
    assert b"798" in succeed("info", CAPTURES / captures.AR9550)


@pytest.mark.parametrize("command", ["info", "plot", "convert", "replay", "watch"])
def test_a_file_that_is_no_capture_is_refused(tmp_path: Path, command: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no samples here")
    arguments: dict[str, list[Any]] = {
        "plot": [path, tmp_path / "out.png"],
        "convert": [path, tmp_path / "out.csv"],
        "watch": ["--file", path],
    }
    result = run(command, *arguments.get(command, [path]))
    assert result.exit_code == 2
    assert "notes.txt holds no spectral samples" in result.output
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_files_are_converted_and_back(tmp_path: Path) -> None:
    (ours,), _ = decode(capture(captures.AR9223))
    succeed("convert", CAMERA, tmp_path / "c.pdspec")
    assert probe(tmp_path / "c.pdspec") is FileKind.RECORDING
    succeed("convert", tmp_path / "c.pdspec", tmp_path / "c.bin")
    assert (tmp_path / "c.bin").read_bytes() == capture(captures.AR9223)
    assert succeed("convert", tmp_path / "c.pdspec", "-", "--to", "raw") == capture(captures.AR9223)

    rows = list(csv.reader(io.StringIO(succeed("convert", CAMERA, "-", "--to", "csv").decode())))
    assert len(rows) == 292
    np.testing.assert_allclose([[float(v) for v in row[10:]] for row in rows[1:]], ours.dbm, atol=0.006)

    succeed("convert", CAMERA, tmp_path / "c.npz")
    with np.load(tmp_path / "c.npz") as arrays:
        np.testing.assert_array_equal(arrays["ht20_56_dbm"], ours.dbm)
        assert (np.diff(arrays["ht20_56_time_s"]) >= 0).all()
    assert zipfile.is_zipfile(tmp_path / "c.npz")

    assert run("convert", CAMERA, tmp_path / "c.bin").exit_code == 1  # It is there already.
    assert run("convert", CAMERA, tmp_path / "c.xyz").exit_code == 2
    assert not (tmp_path / "c.xyz").exists()


def test_a_plot_shows_the_camera_where_it_is(tmp_path: Path) -> None:
    succeed("plot", CAMERA, tmp_path / "all.png")
    succeed("plot", CAMERA, tmp_path / "band.png", "--min-mhz", 2402, "--max-mhz", 2472)
    with Image.open(tmp_path / "band.png") as opened:
        image = np.asarray(opened.convert("L")).astype(int)
    assert image.shape == (776, 1200)
    # The waterfall of the one panel: from 2402.375 to 2471.6 MHz between the columns 64 and 1184.
    fall = image[330:400, 64:1184]
    brightest = 2402.4 + fall.sum(axis=0).argmax() / 1120 * 69.3
    assert brightest == pytest.approx(2414.3, abs=1.5)
    assert run("plot", CAMERA, tmp_path / "none.png", "--min-mhz", 3000, "--max-mhz", 3100).exit_code == 1


def test_replay_writes_what_the_radio_wrote() -> None:
    assert succeed("replay", CAMERA, "--fast") == capture(captures.AR9223)


def test_watch_draws_the_band() -> None:
    shown = succeed("watch", "--file", CAMERA, "--seconds", 1).decode()
    assert "|2420" in shown
    assert "dBm, newest row on top" in shown
    assert "▀" in shown
    assert "█" in shown


async def test_commands_talk_with_the_node(
    shark: Shark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARADROP_HOME", str(shark.settings.home))
    monkeypatch.setenv("PARADROP_RUNTIME", str(shark.settings.runtime))
    token = shark.publisher.token("__paradrop__")
    await asyncio.to_thread(shark.settings.service_token_file.write_text, token)
    refused = await asyncio.to_thread(run, "record", tmp_path / "none.pdspec")
    assert (refused.exit_code, "No source is chosen" in refused.output) == (1, True)
    assert not (tmp_path / "none.pdspec").exists()
    played = await asyncio.to_thread(succeed, "replay", CAMERA, "--to-node", "--loop")
    assert b"ffteval_ar9223_analog_camera_ch1" in played
    await until(shark.stream("SubscribeRaw"), lambda m: m.HasField("batch"))
    shown = await asyncio.to_thread(succeed, "watch", "--seconds", 1)
    assert "running" in shown.decode()
    await asyncio.to_thread(succeed, "record", tmp_path / "mine.pdspec", "--seconds", 1)
    header, duration_s, chunks = await asyncio.to_thread(summary, tmp_path / "mine.pdspec")
    assert header is not None
    assert header.source_kind == "recording"
    assert chunks > 2
    assert duration_s > 0.2


def test_without_a_node_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARADROP_HOME", str(tmp_path))
    monkeypatch.delenv("PARADROP_RUNTIME", raising=False)
    result = run("record", tmp_path / "x.pdspec")
    assert result.exit_code == 1
    assert not (tmp_path / "x.pdspec").exists()
    (tmp_path / "internal").mkdir()
    (tmp_path / "internal" / "service.jwt").write_text("token")
    assert "No node answers" in run("watch").output
