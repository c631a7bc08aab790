"""Every profile asks for no more text than the built-in domains hold, in the default model's own
tokens.
"""

from pathlib import Path

import pytest
from places import CONF
from transformers import AutoTokenizer

from birdbone.pipelines.seed.settings.text import TextSettings
from birdbone.pipelines.seed.text import read_text
from birdbone.run.config import ProfileLoader
from birdbone.settings import CONFIG_LOADER_ARGS
from birdbone.sources.locate import locate


def parameters(profile: str) -> dict:
    return ProfileLoader(CONF, profile, **CONFIG_LOADER_ARGS).tree()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    path = locate("smollm2", parameters("base")["models"])["path"]
    folder = tmp_path_factory.mktemp("tokenizer")
    AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("profile", ["base", "full", "small"])
def test_a_profiles_text_is_there(tokenizer: Path, profile: str) -> None:
    tree = parameters(profile)
    text = TextSettings(**tree["text"])
    texts = read_text(tokenizer, text, None, tree["random_seed"])
    assert texts.guard.keys() == texts.test.keys() == set(text.guard_domains)
    assert {d.windows.numel() for d in texts.guard.values()} == {text.guard_tokens}
    assert {d.windows.numel() for d in texts.test.values()} == {text.test_tokens}
