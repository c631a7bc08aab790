"""Fixtures: tokenizers trained on the spot, as folders."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tokenizer_folders  # takes seconds, and most tests do without

    return tokenizer_folders.byte_level(tmp_path_factory.mktemp("byte_level"))


@pytest.fixture(scope="session")
def llama3_split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tokenizer_folders

    return tokenizer_folders.llama3_split(tmp_path_factory.mktemp("llama3_split"))


@pytest.fixture(scope="session")
def byte_fallback(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tokenizer_folders

    return tokenizer_folders.byte_fallback(tmp_path_factory.mktemp("byte_fallback"))
