"""A model's tokenizer as its files have it: loaded without running any code of theirs, or refused
naming the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
import transformers
from jinja2 import TemplateError, TemplateSyntaxError
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.integrations.gguf import GGUF_CONFIG_ARCHS
from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES
from transformers.models.auto.tokenization_auto import (
    TOKENIZER_MAPPING_NAMES,
    tokenizer_class_from_name,
)

from birdbone.errors import ArtifactError, SourceError
from birdbone.gguf.pretokenizer import splitter
from birdbone.model.family import families
from birdbone.sources.files import json_object, whole

Tokenizer = transformers.PreTrainedTokenizerBase

FILE, SETTINGS = "tokenizer.json", "tokenizer_config.json"
OTHERS = ("tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "spiece.model", "tekken.json")
"""Files that transformers can make a tokenizer of where there is no tokenizer.json."""
TEMPLATE = "chat_template.jinja"
PROBE = [{"role": "user", "content": "a"}]


def tokenizer_of_folder(folder: Path) -> Tokenizer:
    """The tokenizer of a model's folder. Raises ArtifactError or SourceError naming the file at
    fault.
    """
    settings = json_object(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    _check_class(folder / SETTINGS, settings)
    if (folder / FILE).is_file():
        _check_file(folder / FILE)
        file = folder / FILE
    else:
        file = next((folder / name for name in OTHERS if (folder / name).is_file()), None)
        if file is None:
            raise SourceError(f"model folder {folder} has no tokenizer: {FILE} is missing")
        whole(file)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # every kind of tokenizer raises its own
        raise SourceError(f"{file}: this tokenizer does not load: {_line(error)}") from error
    if not tokenizer.is_fast:
        raise SourceError(
            f"{file} is a tokenizer that only Python code runs: save it once as {FILE} (load it as "
            "a fast one and call save_pretrained)"
        )
    _check_template(folder, tokenizer)
    return tokenizer


def tokenizer_of_gguf(path: Path, metadata: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer in a GGUF file's keys. Raises ArtifactError or SourceError naming the file."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not tokens:
        raise ArtifactError(
            f"{path} has no tokenizer (tokenizer.ggml.tokens). Give a file with one"
        )
    try:
        read, more = _reader(metadata)
        tokenizer = read.from_pretrained(
            path.parent, gguf_file=path.name, trust_remote_code=False, local_files_only=True, **more
        )
        if rule := splitter(metadata.get("tokenizer.ggml.pre", "")):
            tokenizer.backend_tokenizer.pre_tokenizer = rule
        tokenizer = _own_tokens(tokenizer, tokens)
    except Exception as error:
        kind = metadata.get("tokenizer.ggml.model")
        raise SourceError(
            f"{path}: its tokenizer ({kind}) does not load: {_line(error)}"
        ) from error
    _check_template(path, tokenizer)
    return tokenizer


def _reader(metadata: Mapping[str, Any]) -> tuple[type, dict[str, str]]:
    """What builds a tokenizer from a GGUF file, and what it is told: the model's own class, where
    transformers knows its architecture.

    Without the model's type transformers would read every key of the file once more to find it, for
    half a minute where it has 262,144 tokens. ``llama`` files may be of several types.
    """
    architecture = metadata.get("general.architecture")
    if architecture not in {*GGUF_CONFIG_ARCHS, *GGUF_SUPPORTED_ARCHITECTURES}:
        return PreTrainedTokenizerFast, {}
    types = {t for f in families().values() if f.gguf.arch == architecture for t in f.model_types}
    if len(types) == 1 and TOKENIZER_MAPPING_NAMES.get(*types):
        return AutoTokenizer, {"tokenizer_type": types.pop()}
    return AutoTokenizer, {}


def _own_tokens(tokenizer: Tokenizer, tokens: list[str]) -> Tokenizer:
    """The tokenizer with the file's tokens alone: transformers adds <|endoftext|> or <mask> to
    files without one.
    """
    if len(tokenizer) <= len(tokens):
        return tokenizer
    backend, own = json.loads(tokenizer.backend_tokenizer.to_str()), set(tokens)
    backend["added_tokens"] = [
        token for token in backend["added_tokens"] if token["id"] < len(tokens)
    ]
    special = {name: token for name, token in tokenizer.special_tokens_map.items() if token in own}
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(json.dumps(backend)), **special
    )
    fast.chat_template = tokenizer.chat_template
    return fast


def _check_file(file: Path) -> None:
    json_object(file)
    try:
        tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise ArtifactError(
            f"{file} is no tokenizer that tokenizers {tokenizers.__version__} reads "
            f"({_line(error)}). Download it again, or save it anew with this version"
        ) from error


def _check_class(file: Path, settings: dict[str, Any]) -> None:
    own, name = settings.get("auto_map"), settings.get("tokenizer_class")
    if name is not None and not isinstance(name, str):
        raise SourceError(f"{file}: tokenizer_class has to be a name, not {json.dumps(name)[:80]}")
    if own and not (name and tokenizer_class_from_name(name)):
        raise SourceError(
            f"{file}: the tokenizer is Python code of the folder's own ({name or 'auto_map'}), "
            f"which birdbone never runs. If {FILE} says all of it, remove auto_map and "
            "tokenizer_class there"
        )


def _check_template(place: Path, tokenizer: Tokenizer) -> None:
    """Refuse a chat template that is no template; whether it takes a plain question is for those
    who ask one.
    """
    if not tokenizer.chat_template:
        return
    file = place / TEMPLATE if (place / TEMPLATE).is_file() else place
    try:
        tokenizer.apply_chat_template(PROBE, tokenize=False)
    except TemplateSyntaxError as error:
        raise ArtifactError(
            f"{file}: its chat template does not parse, line {error.lineno}: {error}"
        ) from error
    except (TemplateError, TypeError, ValueError):
        return


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
