"""``report.html``: a bundle's report with pictures, one file without network or script."""

from __future__ import annotations

from birdbone.diff import pictures
from birdbone.diff.changes import node_words
from birdbone.diff.markdown import markdown_report
from birdbone.diff.report_data import Story
from birdbone.report.embed import environment


def bundle_page(story: Story, config: str, notebooks: str) -> str:
    """The page; equal stories give equal text."""
    neurons = [c for c in story.nodes if c.nodes.unit == "ffn"]
    curves = {
        f"{side.label}, wave {number}": rows
        for side in (story.old, story.new)
        for number, rows in side.records.curves.items()
        if rows
    }
    return (
        environment()
        .get_template("birdbone.diff/bundle.html")
        .render(
            story=story,
            nodes=pictures.node_map(neurons) if neurons else None,
            deltas=pictures.delta_map(story.deltas) if story.deltas else None,
            healing=pictures.healing(curves) if curves else None,
            words=node_words(story.nodes),
            text=markdown_report(story, config, notebooks),
            tensors=sorted(
                story.summary["weights"].items(), key=lambda row: (-row[1]["changed"], row[0])
            ),
            configuration=config,
            notebooks=notebooks,
            states=pictures.STATES,
        )
    )
