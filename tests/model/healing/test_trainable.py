"""A merged model is its student."""

import pytest
import torch
from families import FAMILIES, logits, random_masks
from healing_cases import LORA, WINDOWS, narrow, trained

from birdbone.model.healing.trainable import merge
from birdbone.model.network import build


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("masked", [False, True])
def test_a_merged_model_has_its_students_logits(name, masked):
    checkpoint = narrow(name)
    checkpoint = random_masks(checkpoint) if masked else checkpoint
    student = trained(checkpoint, LORA)
    merged = merge(checkpoint, student, LORA)
    ours = logits(student, WINDOWS)
    torch.testing.assert_close(logits(build(merged), WINDOWS), ours, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(logits(build(checkpoint), WINDOWS), ours, atol=1e-2)
