"""The model card that goes with the export: Markdown under YAML front matter."""

from __future__ import annotations

import re

import yaml

from birdbone.report import numbers
from birdbone.report.data import ReportData, judged
from birdbone.report.page import absent, flattened
from birdbone.report.price import price


def model_card(data: ReportData) -> str:
    """``README.md`` of the exported folder: base, licence, recipe, command, metrics, limits.

    No speeds: the folder's digest must not depend on how busy the machine was.
    """
    front = {
        "base_model": data.base_model,
        "base_model_relation": "quantized",
        "license": data.license,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["birdbone", "pruned", "quantized", "gguf", data.architecture],
    }
    recipe = [f"{n}. {step}" for n, step in enumerate(_recipe(data), start=1)]
    sections = [
        f"# {markdown(data.title)}",
        *filter(None, [markdown(price(data))]),
        f"{markdown(data.base_model)}, pruned, healed and quantized by birdbone. "
        f"Verdict of the run: **{markdown(data.verdict)}**. {markdown(data.reason)}",
        f"> {markdown(data.baseline_note)}",
        "## Recipe\n\n" + "\n".join(recipe),
        "## Reproduce\n\n" + fenced(data.reproduce, "sh"),
        "## Metrics\n\n" + _metrics(data),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in _limits(data)),
    ]
    if data.settings:
        settings = "\n".join(f"{name}: {setting}" for name, setting in flattened(data.settings))
        sections.append("## Resolved parameters\n\n" + fenced(settings))
    if data.digests:
        rows = [[markdown(name), f"`{digest}`"] for name, digest in data.digests.items()]
        sections.append("## Digests\n\n" + _table(["artifact", "SHA-256"], rows))
    header = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n" + "\n\n".join(sections) + "\n"


def _recipe(data: ReportData) -> list[str]:
    accepted = sum(wave["verdict"] == "accepted" for wave in data.waves)
    steps = [f"Seed: {markdown(data.baseline['source'])} ({markdown(data.baseline['format'])})."]
    if data.tokens:
        kept, of = data.tokens
        steps.append(f"Vocabulary: the {kept:,} of {of:,} tokens that the job's text needs.")
    if data.importance:
        steps.append(f"Nodes ranked by {markdown(data.importance['score'])} on calibration text.")
    if data.waves:
        removed = (
            ""
            if data.reached is None
            else (
                f"; {numbers.share(data.reached)} of the block parameters removed"
                + ("" if data.target is None else f" of {numbers.share(data.target)} asked")
            )
        )
        steps.append(f"{len(data.waves)} waves of pruning, {accepted} accepted{removed}.")
    if data.healing:
        steps.append(
            f"Healed by LoRA distillation from the seed, {len(data.healing)} logged steps."
        )
    if ours := data.file("ours"):
        bits = ours.get("bits_per_weight")
        at = "" if bits is None else f", {numbers.plain(bits)} bits per weight"
        steps.append(
            f"Rounded and exported as {markdown(ours['name'])}: {numbers.size(ours['bytes'])}{at}."
        )
    return steps


def _metrics(data: ReportData) -> str:
    tables = []
    if data.files:
        domains = list(dict.fromkeys(d for row in data.files for d in row.get("perplexity", {})))
        tables.append(
            _table(
                [
                    "file",
                    "size",
                    "bits per weight",
                    *(f"perplexity, {markdown(d)}" for d in domains),
                ],
                [
                    [
                        f"**{markdown(row['name'])}**"
                        if row["role"] == "ours"
                        else markdown(row["name"]),
                        numbers.size(row["bytes"]),
                        numbers.plain(row.get("bits_per_weight")),
                        *(
                            numbers.plain(row.get("perplexity", {}).get(domain))
                            for domain in domains
                        ),
                    ]
                    for row in data.files
                ],
            )
        )
    if data.domains:
        tables.append(
            _table(
                ["domain", "seed", "control", "export", "judged change", "KL", "top-1"],
                [
                    [
                        markdown(row["domain"]),
                        *(numbers.plain(row.get(k)) for k in ("before", "control", "after")),
                        numbers.change(judged(row)),
                        numbers.nats(row.get("kl")),
                        numbers.share(row.get("top1")),
                    ]
                    for row in data.domains
                ],
            )
        )
        tables.append(
            "Changes are against the better of seed and control (the seed given the same healing), "
            "with 95 % bootstrap intervals over documents."
        )
    overall = [
        f"Mean KL to the seed: {numbers.nats(data.kl)} nats" if data.kl is not None else "",
        f"top-1 agreement: {numbers.share(data.top1)}" if data.top1 is not None else "",
    ]
    if any(overall):
        tables.append("; ".join(filter(None, overall)) + ".")
    if data.canaries:
        tables.append(
            _table(
                ["canaries", "prompts", "seed", "control", "export"],
                [
                    [
                        markdown(row["domain"]),
                        str(row["items"]),
                        *(numbers.share(row.get(key), 0) for key in ("before", "control", "after")),
                    ]
                    for row in data.canaries
                ],
            )
        )
    return "\n\n".join(tables) or "Nothing was measured."


def _limits(data: ReportData) -> list[str]:
    limits = [markdown(note["text"]) for note in data.notes if note["kind"] != "note"]
    limits.append(
        "Measured on the domains above only; what the seed gets wrong, this gets wrong too."
    )
    if missing := absent(data):
        limits.append(f"Not measured: {'; '.join(missing)}.")
    return limits


def _table(header: list[str], rows: list[list[str]]) -> str:
    rule = [":--"] + ["--:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def markdown(raw: str) -> str:
    """One line of Markdown in which nothing of the raw text is markup."""
    line = " ".join(str(raw).split())
    return re.sub(r"([\\`*\[\]<>|#~]|(?<!\w)_|_(?!\w))", r"\\\1", line)


def fenced(raw: str, language: str = "") -> str:
    """A code block whose fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", raw)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{raw}\n{fence}"
