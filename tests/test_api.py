"""What people script does what its examples show, on a tiny random model, and is there when asked
for.
"""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from families import logits, small, tokens
from transformers import AutoModelForCausalLM

import birdbone
from birdbone import api
from birdbone.errors import ConfigError


def test_the_examples_give_what_they_say() -> None:
    results = doctest.testmod(api)
    assert results.attempted > 8
    assert results.failed == 0


def test_the_package_offers_what_the_module_does_and_imports_it_late() -> None:
    assert birdbone.__all__ == api.__all__
    assert all(getattr(birdbone, name) is getattr(api, name) for name in birdbone.__all__)
    line = "import sys, birdbone; print('torch' in sys.modules, hasattr(birdbone, 'nothing'))"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_saved_model_comes_back_and_is_what_transformers_loads(tmp_path: Path) -> None:
    pruned, _ = birdbone.Pruner(small(), tokens(8, 16)).prune(share=0.2, widths="even")
    birdbone.save(pruned, tmp_path / "out", torch.float32)
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    torch.testing.assert_close(
        logits(stock, tokens()), logits(birdbone.build(pruned), tokens()), atol=1e-5, rtol=0
    )
    again = birdbone.from_transformers(stock)
    assert again.counts("ffn") == pruned.counts("ffn")


@pytest.mark.parametrize("share", [0, 1, 20])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        birdbone.Pruner(small(), tokens(4, 16)).prune(share=share)
