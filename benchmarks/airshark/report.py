"""Makes a table of results: `python -m benchmarks.airshark.report first.json second.json > table.md`."""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.airshark.judging import CLASSES, MORE
from services.airshark.analysis.spacing import SPACINGS_MHZ

PAPER = "Airshark (IMC 2011)"
GAPS = "4 devices, four sub-bands"
USUAL_SECONDS = 2.0
"""Of air in a window."""
BY_SPACING = {f"4 devices, bins of {1e3 * each:g} kHz": each for each in SPACINGS_MHZ}
"""Parts of four devices: of cards as all are that were measured, and of others."""


def table(runs: list[dict[str, Any]]) -> str:
    """Returns Markdown for the results of one evaluation with each generator."""
    runs = sorted(runs, key=lambda run: (run["seconds"] != USUAL_SECONDS, is_unseen(run), run["seconds"]))
    names = [_name(run) for run in runs]
    lines = [
        f"# Results of {runs[0]['date']}",
        "",
        f"Model {runs[0]['model']}. Windows for each cell of A, by column: "
        f"{', '.join(str(run['windows_per_cell']) for run in runs)}; of {USUAL_SECONDS:g} s unless another "
        "time is said.",
        "",
        "## Beside the paper and the aims",
        "",
        *_head(["measure", PAPER, "aim", *names]),
    ]
    rows: list[tuple[str, str, str, list[str]]] = [
        ("one device, -80 dBm and above, mean of eight", "98 %", "98 %", _of(runs, "A, mean of eight")),
        ("worst class of these", "", "95 %", [_worst(run) for run in runs]),
        ("one device at -85 dBm", "", "85 %", _of(runs, "A, at -85 dBm, mean of eight")),
        *(
            (f"{count}, -80 to -30 dBm", paper, aim, _several(runs, count))
            for count, paper, aim in (
                ("2 devices", "91 to 96 %", ""),
                ("3 devices", "91 to 96 %", ""),
                ("4 devices", "over 91 %", "93 %"),
                *((name, "", "") for name in (*BY_SPACING, GAPS)),
            )
        ),
        ("false positives, mean", "0.39 %", "0.3 %", _false(runs, "mean")),
        ("false positives, worst class", "1.3 %", "1 %", _false(runs, "worst")),
        ("times real time, one shared core", "", "20", [f"{run['times real time']:.0f}" for run in runs]),
    ]
    lines += [_row([measure, paper, aim, *values]) for measure, paper, aim, values in rows]
    for run, name in zip(runs, names, strict=True):
        lines += ["", f"## {name.capitalize()}", "", *_per_level(run)]
        lines += ["", *_errors(run)]
        for letter, title in (
            ("C", "Nothing there: reported all the same"),
            ("D", "Beside Wi-Fi"),
            ("E", "Look-alikes"),
            ("F", "Cards with faults, other plans"),
        ):
            if letter in run:
                lines += ["", f"{title}:", "", *_scenes(run[letter])]
        lines += ["", "False positives by what was there: " + _counts(run)]
    return "\n".join(lines) + "\n"


def _name(run: dict[str, Any]) -> str:
    """Names the model of air, whether the detector has been trained with it, and how long it looks."""
    return (
        f"{run['generator']} generator{', not trained with' if is_unseen(run) else ''}, seed {run['seed']}"
        + (f", {run['seconds']:g} s" if run["seconds"] != USUAL_SECONDS else "")
    )


def is_unseen(run: dict[str, Any]) -> bool:
    """Tells whether the model was trained without the generator that judges it."""
    return f"without-{run['generator']}" in run["model"]


def _head(cells: list[str]) -> list[str]:
    return [_row(cells), _row(["---"] * len(cells))]


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _of(runs: list[dict[str, Any]], key: str) -> list[str]:
    return [_percent(run[key]) if key in run else "" for run in runs]


def _worst(run: dict[str, Any]) -> str:
    if "A, worst of eight" not in run:
        return ""
    value, name = run["A, worst of eight"]
    return f"{_percent(value)} (`{name}`)"


def _several(runs: list[dict[str, Any]], count: str) -> list[str]:
    return [_percent(run["B"][count]["accuracy"]) if count in run.get("B", {}) else "" for run in runs]


def _false(runs: list[dict[str, Any]], key: str) -> list[str]:
    return [f"{100 * run['false positives'][key]:.2f} %" if "false positives" in run else "" for run in runs]


def _per_level(run: dict[str, Any]) -> list[str]:
    if "A" not in run:
        return []
    levels = sorted({int(level) for row in run["A"].values() for level in row})
    lines = _head(["found at dBm, %", *map(str, levels)])
    for name in (*CLASSES, *MORE):
        row = {int(level): share for level, share in run["A"][name].items()}
        lines.append(_row([f"`{name}`", *(f"{100 * row[level]:.0f}" for level in levels)]))
    return lines


def _errors(run: dict[str, Any]) -> list[str]:
    errors = run["errors at -80 dBm and above"]
    kinds = {
        "time_to_detect_s": "time to detect, median (s)",
        "time_to_detect_p95_s": "95 % (s)",
        "center_error_mhz": "centre off by (MHz)",
        "rssi_error_db": "RSSI off by (dB)",
        "duty_error": "duty cycle off by",
    }
    lines = _head(["medians", *kinds.values()])
    for name in errors["time_to_detect_s"]:
        lines.append(_row([f"`{name}`", *(str(errors[kind].get(name, "")) for kind in kinds)]))
    return lines


def _scenes(cells: dict[str, Any]) -> list[str]:
    lines = _head(["scene", "windows", "found", "reported wrongly"])
    for name, cell in cells.items():
        found = ", ".join(f"`{kind}` {100 * share:.0f} %" for kind, share in cell["per_class"].items())
        wrong = ", ".join(f"`{kind}` {100 * share:.1f} %" for kind, share in cell["false"].items())
        lines.append(_row([name, str(cell["windows"]), found or "-", wrong or "-"]))
    return lines


def _counts(run: dict[str, Any]) -> str:
    of = run.get("false positives", {}).get("of", {})
    return "; ".join(f"{what} ({count})" for what, count in of.items()) or "none"


def main() -> None:
    """Prints the table."""
    print(table([json.loads(Path(name).read_text()) for name in sys.argv[1:]]), end="")


if __name__ == "__main__":
    main()
