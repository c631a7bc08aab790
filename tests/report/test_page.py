"""report.html: complete, self-contained, safe with hostile names, the same every time."""

import base64
import gzip
import json
import re
from dataclasses import replace

import pytest
from html_pages import Page

from birdbone.report.data import ReportData
from birdbone.report.page import absent, cards, flattened, plots, render

HOSTILE = '</script><img src=x onerror="alert(1)">&amp;'


@pytest.fixture(scope="module")
def page(report):
    return render(report)


def text_of(html):
    return " ".join(Page(html).text.split())


def test_the_page_fetches_nothing(page):
    assert all(target.startswith("#") for target in Page(page).fetched)
    assert not re.search(r"url\(|@import|https?://", page, re.IGNORECASE)
    assert len(page) < 6_000_000


def test_the_chart_script_is_in_the_page_once_and_unpacks_to_plotly(page):
    (packed,) = re.findall(r'id="plotly-gzip">([^<]+)<', page)
    assert b"Plotly" in gzip.decompress(base64.b64decode(packed))


def test_equal_data_gives_the_same_bytes(page, report):
    assert render(report) == page


def test_every_section_is_there_and_every_link_of_the_contents_leads_somewhere(page):
    for section in (
        "sizes",
        "domains",
        "waves",
        "healing",
        "layers",
        "importance",
        "generations",
        "notes",
    ):
        assert f'<section id="{section}">' in page
        assert f'href="#{section}"' in page


def test_every_chart_has_a_place_and_valid_data(page, report):
    found = dict(
        re.findall(r'<script type="application/json" data-plot="plot-(\w+)">(.*?)</script>', page)
    )
    assert (
        set(found)
        == set(plots(report))
        == {
            "frontier",
            "changes",
            "canaries",
            "waves",
            "healing",
            "widths",
            "sparsity",
            "importance",
            "kept",
            "clusters",
            "persistence",
        }
    )
    assert all(f'id="plot-{name}"' in page for name in found)
    assert all(json.loads(figure)["data"] for figure in found.values())


def test_the_figures_a_reviewer_asks_for_are_in_the_text(page):
    text = text_of(page).replace("\u202f", " ")
    for figure in (
        "84.1 MB",
        "seed f16 270.9 MB, 3.22×",
        "source file 98.4 MB, 1.17×",
        "129.5 M",
        "91.3",
        "+2.4 % +1.3 to +3.5",
        "0.0412",
        "89.4 %",
        "180 tensors",
        "156 × Q4_K → Q5_0",
        "step halved once",
        "git checkout 1a2b3c4",
        "micro_heal.rank",
        "9f2c" * 16,
    ):
        assert figure in text, figure


def test_the_honest_baseline_stands_at_the_top(page):
    text = text_of(page)
    assert text.index("The baseline is a de-quantized model") < text.index(
        "Sizes and quality Every"
    )
    assert "3.22 times smaller than the seed at f16 and 1.17 times smaller than the file" in text


def test_an_original_seed_is_not_called_dequantized(report):
    honest = replace(
        report, baseline={"source": "model.safetensors", "format": "BF16", "dequantized": False}
    )
    assert "de-quantized" not in honest.baseline_note
    assert "as published" in honest.baseline_note


def test_hostile_text_stays_text(report):
    file = report.files[0] | {"name": HOSTILE, "substituted": {HOSTILE: 1}}
    hostile = replace(
        report,
        model=HOSTILE,
        base_model=HOSTILE,
        license=HOSTILE,
        architecture=HOSTILE,
        reason=HOSTILE,
        verdict=HOSTILE,
        reproduce=HOSTILE,
        baseline=report.baseline | {"source": HOSTILE},
        files=[file, *report.files[1:]],
        domains=[report.domains[0] | {"domain": HOSTILE}],
        canaries=[report.canaries[0] | {"domain": HOSTILE}],
        waves=[report.waves[0] | {"note": HOSTILE, "verdict": HOSTILE}],
        layers=[report.layers[0] | {"type": HOSTILE}],
        importance=report.importance | {"score": HOSTILE},
        generations=[{"prompt": HOSTILE, "before": HOSTILE, "after": HOSTILE}],
        notes=[{"kind": "limit", "text": HOSTILE}],
        settings={HOSTILE: HOSTILE},
        digests={HOSTILE: HOSTILE},
    )
    html = render(hostile)
    links = Page(html)
    assert "img" not in links.tags
    assert html.count("</script>") == links.tags.count("script")
    assert text_of(html).count(HOSTILE) >= 20
    assert "<img" not in html


def test_the_worst_domain_is_the_headline(report):
    assert report.worst["domain"] == "python"
    card = next(card for card in cards(report) if card["label"] == "Worst perplexity change")
    assert card["figure"].startswith("+2.4")


def test_without_a_control_the_change_against_the_seed_is_judged(report):
    bare = [
        {k: v for k, v in row.items() if "control" not in k and k != "judged_change"}
        for row in report.domains
    ]
    card = next(
        c for c in cards(replace(report, domains=bare)) if c["label"] == "Worst perplexity change"
    )
    assert card["figure"].startswith("+2.3")
    assert "the control (the seed given the same healing)" in absent(replace(report, domains=bare))


OPTIONAL = {
    "files": "sizes",
    "waves": "waves",
    "healing": "healing",
    "layers": "layers",
    "generations": "generations",
}


@pytest.mark.parametrize("part", OPTIONAL)
def test_what_was_not_measured_is_left_out_and_said(report, part):
    html = render(replace(report, **{part: []}))
    assert f'id="{OPTIONAL[part]}"' not in html
    assert "Left out of this report:" in text_of(html)


def test_a_report_of_hardly_anything_still_renders():
    bare = ReportData(
        model="m",
        base_model="b",
        license="mit",
        architecture="llama",
        baseline={"source": "s", "format": "F16", "dequantized": False},
        verdict="rejected",
        reason="r",
        limit=0.03,
        files=[],
        domains=[],
        parameters_seed=100,
        parameters_left=90,
    )
    html = render(bare)
    assert 'class="plot"' not in html
    for missing in absent(bare):
        assert missing in text_of(html)


def test_figures_without_intervals_are_shown_without(report):
    plain = replace(
        report,
        kl=0.04,
        top1=0.9,
        domains=[{"domain": "only", "before": 10.0, "after": 10.5, "change": 0.05}],
    )
    assert "+5.0\u202f%" in render(plain)


def test_files_measured_on_no_common_domain_are_tabled_but_not_plotted(report):
    bare = [{k: v for k, v in row.items() if k != "perplexity"} for row in report.files]
    assert "frontier" not in plots(replace(report, files=bare))
    assert 'id="sizes"' in render(replace(report, files=bare))


def test_settings_are_flattened_to_dotted_names():
    assert flattened({"a": {"b": 1, "c": None}, "d": [1, 2], "e": {}}) == [
        ("a.b", "1"),
        ("a.c", "null"),
        ("d", "[1, 2]"),
        ("e", "{}"),
    ]
