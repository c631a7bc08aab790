"""The model card: valid front matter, every promised part, nothing of a name taken as markup."""

from dataclasses import replace

import yaml

from birdbone.report.card import model_card
from birdbone.report.page import render
from birdbone.report.price import price
from birdbone.report.summary import summary


def front_matter(card):
    _, header, body = card.split("---\n", 2)
    return yaml.safe_load(header), body


def test_the_front_matter_names_base_licence_and_task(report):
    header, _ = front_matter(model_card(report))
    assert header["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert header["license"] == "apache-2.0"
    assert header["pipeline_tag"] == "text-generation"
    assert {"pruned", "gguf", "deci"} <= set(header["tags"])


def test_a_hostile_name_cannot_add_front_matter(report):
    hostile = replace(report, base_model="x\nlicense: mit\n---", license="gpl-3.0")
    header, _ = front_matter(model_card(hostile))
    assert header["license"] == "gpl-3.0"
    assert header["base_model"] == "x\nlicense: mit\n---"


def test_every_promised_part_is_there(report):
    _, body = front_matter(model_card(report))
    for heading in ("Recipe", "Reproduce", "Metrics", "Limits", "Resolved parameters", "Digests"):
        assert f"\n## {heading}\n" in body
    assert "```sh\ngit checkout 1a2b3c4\nmake run\n```" in body
    assert "| **birdbone IQ4_NL** | 84.1\u202fMB |" in body
    assert "de-quantized" in body
    assert "wave 2 was halved once" in body


def test_tables_have_as_many_cells_in_every_row(report):
    hostile = [report.files[0] | {"name": "a|b\nc"}, *report.files[1:]]
    for block in model_card(replace(report, files=hostile)).split("\n\n"):
        rows = [line.replace(r"\|", "") for line in block.splitlines() if line.startswith("| ")]
        assert len({row.count("|") for row in rows}) <= 1


def test_a_command_with_backticks_stays_in_its_block(report):
    card = model_card(replace(report, reproduce="echo ```\n# heading"))
    assert "````sh\necho ```\n# heading\n````" in card


def test_what_was_not_measured_is_a_limit(report):
    assert "Not measured: canaries." in model_card(replace(report, canaries=[]))


def test_what_a_model_for_one_job_lost_elsewhere_is_its_first_line(report):
    row = {"domain": "news", "before": 20.0, "after": 30.0, "change": [0.5, 0.4, 0.6]}
    special = replace(report, job="code", elsewhere=[row], tokens=[300, 400])
    first, second = model_card(special).partition("---\n\n")[2].split("\n\n")[:2]
    assert first.endswith("for code")
    assert second == " ".join(price(special).split())
    assert "300 of 400 tokens" in model_card(special) and "for code" in summary(special)
    assert price(special) in render(special) and "news, elsewhere" in render(special)
    assert "Perplexity elsewhere" not in model_card(report)
