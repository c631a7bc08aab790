"""A line for each result of the tiny profile, `<digest> <dataset>`, to compare two commits by.

Read from the ledger, after ``kedro run --env=tiny``. What holds speeds is left out: it differs
from run to run.
"""

from __future__ import annotations

import json
from pathlib import Path

LEDGER = Path(".birdbone/data-tiny/ledger")
SPEEDS = {
    "files_speed",
    "headline",
    "moe_page",
    "moe_speed",
    "moe_summary",
    "report_page",
    "speed",
    "summary",
}
SHOWN = 16
"""Hex digits of a digest."""


def lines(ledger: Path) -> list[str]:
    """Of all records, by the dataset's name."""
    records = [json.loads(path.read_text()) for path in ledger.glob("*.json")]
    digests = {name: digest for record in records for name, digest in record["outputs"].items()}
    return [
        f"{digest[:SHOWN]} {name}" for name, digest in sorted(digests.items()) if name not in SPEEDS
    ]


if __name__ == "__main__":
    print("\n".join(lines(LEDGER)))
