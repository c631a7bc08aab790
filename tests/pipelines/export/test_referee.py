"""How near llama.cpp's logits of the f32 export have to be, by what the family computes."""

import numpy as np
import pytest
import torch

from birdbone.errors import ExportError
from birdbone.model.layout import Layout
from birdbone.pipelines.export import referee


class Given:
    """A checkpoint's network whose logits are known."""

    def __init__(self, activation: str) -> None:
        self.layout = Layout({"model_type": {"silu": "llama", "gelu": "gpt2"}[activation]})


@pytest.mark.parametrize(
    ("activation", "noise", "passes"),
    [("silu", 0.0, True), ("silu", 5e-3, False), ("gelu", 5e-3, True), ("gelu", 0.5, False)],
)
def test_families_with_gelu_are_given_llama_cpps_half_precision(
    activation, noise, passes, monkeypatch
):
    ours = torch.randn(8, 50, generator=torch.Generator().manual_seed(0))
    theirs = ours + noise * torch.randn(8, 50, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(referee, "write_gguf", lambda *_, **__: {})
    monkeypatch.setattr(referee, "refuse_substitutes", lambda *_: None)
    monkeypatch.setattr(
        referee.llamacpp, "logits", lambda *_, **__: theirs.numpy().astype(np.float32)
    )
    monkeypatch.setattr(
        referee, "build", lambda _: lambda ids, use_cache: type("Out", (), {"logits": ours[None]})
    )

    def judged() -> dict:
        return referee._exactness(Given(activation), None, torch.arange(8), 1)

    if passes:
        assert judged()["kl"] < referee.GELU_KL
    else:
        with pytest.raises(ExportError, match="llama.cpp's logits of the f32 export differ"):
            judged()
