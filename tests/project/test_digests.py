"""`make digests` prints a line for each result, so that `diff` tells what a change changed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from places import ROOT

spec = importlib.util.spec_from_file_location("digests", ROOT / ".ci/digests.py")
digests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(digests)


def test_every_result_has_a_line_but_those_that_hold_speeds(tmp_path: Path) -> None:
    outputs = {"wave_1.model": "b" * 64, "speed": "c" * 64}
    (tmp_path / "wave_1.guard.json").write_text(json.dumps({"outputs": outputs}))
    (tmp_path / "seed.load.json").write_text(json.dumps({"outputs": {"seed_model": "a" * 64}}))
    assert digests.lines(tmp_path) == ["a" * 16 + " seed_model", "b" * 16 + " wave_1.model"]
