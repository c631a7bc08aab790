"""What the terminal shows."""

from dataclasses import replace

from birdbone.report.summary import WAVE_COLUMNS, summary, wave_cells, wave_table


def test_the_summary_holds_headline_files_domains_and_waves(report):
    text = summary(report).replace("\u202f", " ")
    for part in (
        "SmolLM2-135M-Instruct, 5 % pruned, IQ4_NL: accepted",
        "File size",
        "84.1 MB",
        "llama.cpp Q4_K_M",
        "180 tensors",
        "+2.4 % [+1.3, +3.5]",
        "wave 2: step halved once",
        "de-quantized",
    ):
        assert part in text, part


def test_sentences_wrap_and_figures_are_never_cut(report):
    narrow = summary(replace(report, reason="word " * 60), width=60)
    assert max(len(line) for line in narrow.splitlines() if line.startswith("word")) <= 60
    assert "…" not in narrow


def test_plain_text_has_no_escape_codes_and_colour_has(report):
    assert "\x1b[" not in summary(report)
    assert "\x1b[" in summary(report, color=True)


def test_markup_in_names_is_printed_as_it_stands(report):
    assert "[bold]m[/bold]" in summary(replace(report, model="[bold]m[/bold]"))


def test_what_was_not_measured_is_said(report):
    assert "not measured: canaries" in summary(replace(report, canaries=[]))


def test_a_wave_row_has_a_cell_per_column(report):
    row = dict(zip(WAVE_COLUMNS, wave_cells(report.waves[1]), strict=True))
    assert row["wave"] == "2"
    assert row["nodes left"] == "43,936"
    assert row["Δ"] == "+2.0\u202f% [+1.1, +3.0]"
    assert row["time"] == "9\u202fmin 08\u202fs"
    assert row["verdict"] == "accepted"


def test_a_wave_that_measured_nothing_shows_dashes():
    assert wave_cells({"wave": 4, "verdict": "stopped"})[1:8] == ["–"] * 7


def test_the_wave_table_grows_by_a_line_per_wave(report):
    one, two = wave_table(report.waves[:1]), wave_table(report.waves)
    assert "9\u202fmin 08" not in one
    assert "9\u202fmin 08" in two
    assert two.startswith(one.rstrip().rsplit("\n", 1)[0][:40])
