"""Where text comes from: built-in domains that install with pip, one's own folder or JSONL, a hub's data set.

| name | what | from |
| wikipedia | 107 encyclopedic articles | gensim's test data, CC BY-SA |
| news | 300 news stories (the Lee background corpus) | gensim's test data |
| reference | Python's language reference | the standard library's pydoc_data |
| code | Python source files | the standard library |
| arithmetic | 96 worksheets of problems with answers | written by rule, text/arithmetic.py |
"""

from __future__ import annotations

import bz2
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from jinja2 import TemplateError

from birdbone.errors import TextError
from birdbone.text.arithmetic import worksheets

SEED_CHAT = "seed_chat"
"""A text set that the seed writes in talk with text/talk.yml; not a source of documents."""
HUB, HUB_ROWS = "hf:", 1000
"""``hf:owner/name`` or ``hf:owner/name@split``: a Hugging Face data set, its first rows."""
GENSIM_DATA = "gensim/test/test_data"
WIKIPEDIA = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
CODE_FILES = (
    "argparse",
    "ast",
    "asyncio/tasks",
    "calendar",
    "collections/__init__",
    "csv",
    "dataclasses",
    "difflib",
    "email/message",
    "fractions",
    "heapq",
    "inspect",
    "json/decoder",
    "logging/__init__",
    "pathlib",
    "pprint",
    "queue",
    "random",
    "sched",
    "shlex",
    "shutil",
    "statistics",
    "string",
    "tarfile",
    "textwrap",
    "threading",
    "tokenize",
    "traceback",
    "urllib/parse",
    "zipfile",
)


@dataclass(frozen=True)
class Document:
    """One article, story, file or conversation. The title decides its split and must be stable."""

    title: str
    text: str


def documents(source: str, chat: Callable[[list[dict]], str] | None = None) -> list[Document]:
    """All documents of a built-in domain, a folder of .txt/.md files, a .jsonl file, or a hub's data set.

    JSONL lines hold ``text`` or, where ``chat`` (a chat template) is given, ``messages``.
    Raises TextError naming the file and line at fault.
    """
    check_source(source)
    if source in BUILT_IN:
        return list(BUILT_IN[source]())
    path = Path(source).expanduser()
    if source.startswith(HUB):
        found = list(_hub(source.removeprefix(HUB)))
    else:
        found = list(_folder(path) if path.is_dir() else _jsonl(path, chat))
    if not found:
        raise TextError(f"text source {source!r} holds no text")
    return found


def check_source(source: str) -> None:
    """Raises TextError unless ``source`` names a built-in text, a folder, a .jsonl file, or a hub's data set."""
    path = Path(source).expanduser()
    if source.startswith(HUB):
        if find_spec("datasets") is None:
            raise TextError(f"text source {source!r} needs Hugging Face's datasets: pip install datasets")
    elif source not in BUILT_IN and not path.is_dir() and not (path.suffix == ".jsonl" and path.is_file()):
        raise TextError(
            f"text source {source!r}: give one of {', '.join(BUILT_IN)}, a folder of .txt or .md "
            f"files, a .jsonl file, or {HUB}owner/name"
        )


def _folder(path: Path) -> Iterator[Document]:
    for file in sorted(p for p in path.rglob("*") if p.suffix in (".txt", ".md")):
        try:
            yield Document(file.relative_to(path).as_posix(), file.read_text())
        except UnicodeDecodeError as error:
            raise TextError(f"{file} is not UTF-8 text: {error}") from error


def _jsonl(path: Path, chat: Callable[[list[dict]], str] | None) -> Iterator[Document]:
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            text = chat(record["messages"]) if "messages" in record and chat else record["text"]
            if not isinstance(text, str):
                raise TypeError(f"text is {text!r}")
        except (ValueError, KeyError, TypeError, TemplateError) as error:
            wanted = '"text" or "messages"' if chat else '"text" (set text.chat to read "messages")'
            raise TextError(f"{path}, line {number}: needs a JSON object with {wanted}: {error!r}") from error
        yield Document(str(record.get("title", f"line {number}")), text)


def _hub(name: str) -> Iterator[Document]:
    from datasets import load_dataset

    path, _, part = name.partition("@")
    try:
        rows = load_dataset(path, split=part or "train", streaming=True, trust_remote_code=False)
        for number, row in enumerate(itertools.islice(rows, HUB_ROWS)):
            yield Document(f"row {number}", row["text"])
    except KeyError as error:
        raise TextError(f"data set {path}: it has no column {error}: text is read from 'text'") from error
    except (OSError, ValueError) as error:
        raise TextError(
            f"data set {path}: not found, or the hub did not give it ({type(error).__name__}). Check the name, the "
            "split and the network"
        ) from error


def _gensim(name: str) -> Path:
    try:
        path = Path(distribution("gensim").locate_file(f"{GENSIM_DATA}/{name}"))
    except PackageNotFoundError as error:
        raise TextError("the built-in texts come with gensim: pip install gensim") from error
    if not path.is_file():
        raise TextError(f"this gensim has no {name}: pip install gensim==4.4.0")
    return path


def _wikipedia() -> Iterator[Document]:
    from gensim.corpora.wikicorpus import extract_pages, filter_wiki

    with bz2.open(_gensim(WIKIPEDIA)) as file:
        for title, text, _ in extract_pages(file, filter_namespaces=("0",)):
            paragraphs = [" ".join(p.split()) for p in filter_wiki(text).split("\n")]
            kept = "\n".join(p for p in paragraphs if len(p) > 200)
            if kept and not text.lower().startswith("#redirect"):
                yield Document(title, kept)


def _news() -> Iterator[Document]:
    for number, line in enumerate(_gensim("lee_background.cor").read_text(encoding="latin-1").splitlines()):
        if line.strip():
            yield Document(f"story {number}", line.strip())


def _reference() -> Iterator[Document]:
    from pydoc_data.topics import topics

    for title in sorted(topics):
        yield Document(title, topics[title].strip())


def _code() -> Iterator[Document]:
    import sysconfig

    library = Path(sysconfig.get_path("stdlib"))
    for name in CODE_FILES:
        file = library / f"{name}.py"
        if file.is_file():
            yield Document(name, file.read_text(encoding="utf-8"))


def _arithmetic() -> Iterator[Document]:
    for title, text in worksheets():
        yield Document(title, text)


BUILT_IN = {
    "wikipedia": _wikipedia,
    "news": _news,
    "reference": _reference,
    "code": _code,
    "arithmetic": _arithmetic,
}
