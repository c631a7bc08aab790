"""What the terminal shows: the wave table while it grows, and the summary at the end."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from birdbone.report import numbers
from birdbone.report.data import ReportData, Wave, judged, value
from birdbone.report.page import absent, cards
from birdbone.report.price import price
from birdbone.report.waterfall import step_cells

COLOURS = {"accepted": "green", "provisional": "yellow", "reverted": "red", "rejected": "red"}
WIDEST = 1000
"""Columns that a table may take before figures are cut."""
WAVE_COLUMNS = (
    "wave",
    "asked",
    "reached",
    "nodes left",
    "perplexity",
    "Δ",
    "KL",
    "time",
    "verdict",
    "note",
)


def summary(data: ReportData, width: int = 110, color: bool = False) -> str:
    """The headline, the files side by side, the domains and the waves, as text.

    width: columns that sentences are wrapped to; a table takes what its figures need. color: with
    terminal colours; plain text is the default, fit for logs.
    """
    parts = [
        Text(f"{data.title}: {data.verdict}", style=f"bold {COLOURS.get(data.verdict, '')}"),
        Text(data.reason),
        *([Text(told)] if (told := price(data)) else []),
        _headline(data),
        Text(data.baseline_note, style="dim"),
    ]
    if data.files:
        parts.append(_files(data))
    if data.domains:
        parts.append(_domains(data))
    if data.steps:
        parts.append(_steps(data))
    if data.waves:
        parts += _waves(data.waves)
    if missing := absent(data):
        parts.append(Text(f"not measured: {'; '.join(missing)}", style="dim"))
    return _printed(parts, width, color) + (f"\n{data.reproduce}\n" if data.reproduce else "")


def wave_cells(verdict: Wave) -> list[str]:
    """One wave as ten cells, in the order of ``WAVE_COLUMNS``; what was not measured is a dash."""
    return [
        str(verdict["wave"]),
        numbers.share(verdict.get("target"), 2),
        numbers.share(verdict.get("reached"), 2),
        numbers.exact(verdict.get("nodes_left")),
        numbers.plain(verdict.get("perplexity")),
        numbers.change(verdict.get("delta")),
        numbers.nats(_point(verdict.get("kl"))),
        numbers.duration(verdict.get("seconds")),
        verdict["verdict"],
        verdict.get("note", ""),
    ]


def wave_table(verdicts: Sequence[Wave], width: int = 110, color: bool = False) -> str:
    """The waves so far as a table; print it anew after each wave."""
    return _printed(_waves(verdicts), width, color)


def _waves(verdicts: Sequence[Wave]) -> list[Table | Text]:
    """The table, and what a wave has to say beneath it."""
    table = _table("waves", WAVE_COLUMNS[:-1], left_aligned=("verdict",))
    notes = []
    for verdict in verdicts:
        *cells, note = (Text(cell) for cell in wave_cells(verdict))
        cells[-1].stylize(COLOURS.get(verdict["verdict"], "dim"))
        table.add_row(*cells)
        if note:
            notes.append(Text(f"wave {verdict['wave']}: {note}"))
    return [table, *notes]


def _headline(data: ReportData) -> Table:
    grid = Table.grid(padding=(0, 2))
    for card in cards(data):
        figure = f"{card['figure']} {card['unit']}" if card.get("unit") else card["figure"]
        interval = [card["interval"]] if card.get("interval") else []
        details = " · ".join([*interval, *card["lines"]])
        grid.add_row(Text(card["label"]), Text(figure, style="bold"), Text(details))
    return grid


def _files(data: ReportData) -> Table:
    domains = list(dict.fromkeys(d for row in data.files for d in row.get("perplexity", {})))
    table = _table(
        "files, by llama.cpp",
        ("file", "size", "bits", *domains, "tokens/s", "KL", "substituted"),
        left_aligned=("file", "substituted"),
    )
    for row in data.files:
        swapped = row.get("substituted")
        cells = [
            row["name"],
            numbers.size(row["bytes"]),
            numbers.plain(row.get("bits_per_weight")),
            *(numbers.plain(row.get("perplexity", {}).get(domain)) for domain in domains),
            numbers.plain(row.get("tokens_per_second"), 1),
            numbers.nats(_point(row.get("kl"))),
            _swaps(swapped),
        ]
        style = "bold" if row["role"] == "ours" else None
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table


def _domains(data: ReportData) -> Table:
    table = _table(
        "perplexity by domain",
        ("domain", "seed", "control", "healed", "export", "judged change"),
        left_aligned=("domain",),
    )
    for row in (*data.domains, *data.elsewhere):
        cells = [
            row["domain"] + (", elsewhere" if row in data.elsewhere else ""),
            *(numbers.plain(row.get(key)) for key in ("before", "control", "healed", "after")),
            numbers.change(judged(row)),
        ]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _steps(data: ReportData) -> Table:
    table = _table(
        "what each step did",
        ("after", "size", "MACs", "KL", "control's KL", "control"),
        left_aligned=("after", "control"),
    )
    for row in data.steps:
        table.add_row(*map(Text, step_cells(row)), style="dim" if "verdict" in row else None)
    return table


def _table(title: str, columns: Sequence[str], left_aligned: Sequence[str]) -> Table:
    table = Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        padding=(0, 1),
    )
    for name in columns:
        table.add_column(
            Text(name), justify="left" if name in left_aligned else "right", no_wrap=True
        )
    return table


def _printed(parts: Sequence, width: int, color: bool) -> str:
    buffer = StringIO()
    for part in parts:
        room = WIDEST if isinstance(part, Table) else width
        Console(file=buffer, width=room, force_terminal=color, no_color=not color).print(part)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _swaps(substituted: dict[str, int] | None) -> str:
    if substituted is None:
        return numbers.NONE
    count = sum(substituted.values())
    return f"{count} tensor{'s' if count > 1 else ''}" if count else "none"


def _point(measure) -> float | None:
    return None if measure is None else value(measure)
