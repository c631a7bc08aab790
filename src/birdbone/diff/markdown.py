"""``report.md``: what was removed, what it cost and how to take it back, on one screen."""

from __future__ import annotations

from html import escape
from itertools import accumulate

from birdbone.diff.changes import node_words
from birdbone.diff.report_data import Story
from birdbone.model.units import UNITS
from birdbone.report import numbers

LINES = 40
"""Lines shown of a list or table."""
TOKENS = 12
"""Tokens named."""
DIFF_LINES = 100
"""Lines shown of a diff."""
WIDTH = 180
"""Characters shown of a line."""
BYTES = 8_000
"""Bytes shown of a part. Six parts and their frame stay under 60 kB; GitHub takes 65,536
characters.
"""


def markdown_report(story: Story, config: str, notebooks: str) -> str:
    """The report in Markdown: equal stories give equal bytes."""
    parts = [
        _headline(story),
        _section("What changed in the model", _structure(story)),
        _section("Which stage did it", _stages(story)),
        _section("Configuration", _fenced(config, "diff") if config else [_unchanged(story)]),
        _section("Notebooks", _fenced(notebooks, "diff")) if notebooks else "",
        _section("Take it back", _back(story)),
    ]
    return "\n".join(part for part in parts if part)


def escaped(text: str) -> str:
    """A name from outside as Markdown text that can mean nothing else."""
    safe = escape("".join(c if c.isprintable() else "\ufffd" for c in _short(text)), quote=False)
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+!|~@:$" else c for c in safe)


def _unchanged(story: Story) -> str:
    if story.old.config:
        return "No parameter changed."
    return f"None is known of {escaped(story.old.label)}."


def _headline(story: Story) -> str:
    before = story.metrics["before"]
    after = story.metrics["after"]
    rows = [
        ("bytes of the export", "bytes", numbers.size),
        ("parameters", "parameters", numbers.exact),
        ("MACs per token", "macs_per_token", numbers.exact),
        ("tokens/s", "tokens_per_second", lambda x: numbers.plain(x, 1)),
        ("KL to the seed", "kl", numbers.nats),
        ("top-1 agreement", "top1", numbers.share),
        ("canaries right", "canaries", lambda x: numbers.share(x, 0)),
    ]
    table = [
        f"| {name} | {show(before.get(key))} | {show(after.get(key))} |"
        for name, key, show in rows
        if key in before or key in after
    ]
    was = before.get("perplexity", {})
    now = after.get("perplexity", {})
    for domain in sorted({*was, *now}):
        change = (
            numbers.change(now[domain] / was[domain] - 1) if domain in was and domain in now else ""
        )
        shown = f"{numbers.plain(now.get(domain))} {f'({change})' if change else ''}".strip()
        table.append(
            f"| perplexity, {escaped(domain)} | {numbers.plain(was.get(domain))} | {shown} |"
        )
    table = _first(table)
    verdict = f"**{story.metrics['verdict']}**"
    if "worst_change" in story.metrics:
        verdict += (
            f": {escaped(story.metrics['worst_domain'])} "
            f"{numbers.change(story.metrics['worst_change'])} against the seed, "
            f"{numbers.share(story.metrics['limit'], 0)} allowed"
        )
    return "\n".join(
        [
            f"# Bundle {story.id}",
            "",
            f"`{story.old.state.digest[:12]}` → `{story.new.state.digest[:12]}`. Verdict of the "
            f"guard: {verdict}.",
            "",
            f"| | before ({escaped(story.old.label)}) | after ({escaped(story.new.label)}) |",
            "|:--|--:|--:|",
            *table,
            "",
        ]
    )


def _structure(story: Story) -> list[str]:
    lines = [*_tokens(story), *(f"- {line}" for line in node_words(story.nodes))]
    for change in story.weights:
        moved = ""
        if change.removed or change.returned:
            moved = f"; {change.removed:,} weights masked, {change.returned:,} unmasked"
        lines.append(
            f"- {escaped(change.tensor)}: masked {numbers.share(change.before)} → "
            f"{numbers.share(change.after)}{moved}"
        )
    lines = _first(lines) if lines else ["- No node and no weight mask changed."]
    was, now = story.sparsity
    if was or now:
        lines += ["", "| layer | masked before | after |", "|--:|--:|--:|"]
        layers = sorted({*was, *now})
        rows = [
            f"| {i} | {numbers.share(was.get(i, 0.0))} | {numbers.share(now.get(i, 0.0))} |"
            for i in layers
        ]
        lines += _first(rows, DIFF_LINES)
    tensors = story.summary["weights"]
    changed, elements = (sum(t[k] for t in tensors.values()) for k in ("changed", "elements"))
    size = numbers.size(story.summary["bytes"]["weights.patch"])
    lines += [
        "",
        f"{len(tensors)} tensors differ, {changed:,} of their {elements:,} values "
        f"(`weights.patch`: {size}).",
    ]
    return lines


def _tokens(story: Story) -> list[str]:
    change = story.tokens
    if not change:
        return []
    lines = [f"- {change.left:,} of {change.of:,} tokens are left"]
    for tokens, what in ((change.gone, "went"), (change.back, "came back")):
        if tokens:
            named = ", ".join(escaped(token) for token in tokens[:TOKENS])
            more = f" and {len(tokens) - TOKENS:,} more" if len(tokens) > TOKENS else ""
            lines.append(f"- {len(tokens):,} tokens {what}: {named}{more}")
    return lines


def _stages(story: Story) -> list[str]:
    was = story.old.records.waves
    lines = []
    for number, reports in story.new.records.waves.items():
        same = was.get(number) or {}
        for stage in ("prune", "heal", "regrow", "verdict"):
            if stage in reports and reports[stage] != same.get(stage):
                lines.append(
                    f"- wave {number}, {_STAGES[stage][0]}: {_STAGES[stage][1](reports[stage])}"
                )
    quantize = story.new.records.figures.get("quantize") or {}
    if quantize and quantize != story.old.records.figures.get("quantize"):
        counts = ", ".join(f"{count} × {kind}" for kind, count in quantize["counts"].items())
        lines.append(f"- quantize: {counts}; {numbers.size(quantize['tensor_bytes'])} of tensors")
    return _first(lines) if lines else ["No reports of stages are known for these states."]


def _pruned(report: dict) -> str:
    counts = {unit: sum(layers.values()) for unit, layers in report.get("removed", {}).items()}
    words = [UNITS[unit].counted(count) for unit, count in counts.items() if count]
    if words:
        return f"removed {', '.join(words)}"
    return f"nothing ({escaped(report.get('why', 'masks alone'))})"


def _healed(report: dict) -> str:
    if not report.get("steps"):
        return f"nothing ({escaped(report.get('why', ''))})"
    words = f"{report['steps']} steps"
    checks = report.get("checks", [])
    if not checks:
        return words
    before = checks[0][1]
    after = min(loss for _, loss in checks)
    return f"{words}, loss on check text {before:.4f} → {after:.4f} after {report['kept']}"


def _regrown(report: dict) -> str:
    count = sum(report.get("returned", {}).values())
    return (
        f"{count} FFN neurons regrown" if count else f"nothing ({escaped(report.get('why', ''))})"
    )


def _judged(report: dict) -> str:
    change = report.get("worst_change")
    return escaped(report["status"]) + (
        f", worst domain {numbers.change(change)}" if change is not None else ""
    )


_STAGES = {
    "prune": ("prune", _pruned),
    "heal": ("heal", _healed),
    "regrow": ("grow", _regrown),
    "verdict": ("guard", _judged),
}


def _back(story: Story) -> list[str]:
    return [
        "```sh",
        f"birdbone diff verify {story.id}                       # every checksum",
        f"birdbone diff revert {story.id} --to OUT              # the whole model as it was, bit "
        "for bit",
        f"birdbone diff revert {story.id} --to OUT --layers 5   # one layer; --masks-only: what "
        "was removed",
        "git revert COMMIT && dvc checkout                      # code, configuration and model "
        "together",
        "```",
    ]


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([f"## {title}", "", *lines, ""])


def _fenced(text: str, kind: str) -> list[str]:
    """Text in a fence longer than any it holds."""
    fence = "`" * max(3, 1 + max((len(run) for run in _runs(text)), default=0))
    return [
        fence + kind,
        *_first([_short(line) for line in text.rstrip("\n").split("\n")], DIFF_LINES),
        fence,
    ]


def _runs(text: str) -> list[str]:
    return [run for run in "".join(c if c == "`" else " " for c in text).split() if run]


def _first(lines: list[str], most: int = LINES) -> list[str]:
    """As many lines as there is room for, and a line that counts the rest."""
    sizes = accumulate(len(line.encode(errors="replace")) + 1 for line in lines)
    most = min(most, sum(size <= BYTES for size in sizes))
    if len(lines) <= most:
        return lines
    return [*lines[:most], f"… and {len(lines) - most} more (report.html has all)"]


def _short(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
