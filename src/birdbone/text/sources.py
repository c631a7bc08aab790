"""Where text comes from: built-in domains, a folder, a .jsonl file, or a data set of a hub.

The built-in domains come with packages that pip installs.

| name | what | from |
| wikipedia | 107 encyclopedic articles | gensim's test data, CC BY-SA |
| news | 300 news stories (the Lee background corpus) | gensim's test data |
| reference | Python's language reference | the standard library's pydoc_data |
| code | Python source files | the standard library |
| python | Python source files, judged on packages that healing never saw | installed packages |
| arithmetic | 96 worksheets of problems with answers | written by rule, text/arithmetic.py |
"""

from __future__ import annotations

import bz2
import itertools
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from birdbone.errors import TextError
from birdbone.text.arithmetic import worksheets
from birdbone.text.conversations import Chat
from birdbone.text.files import folder_texts, jsonl_texts, text_files
from birdbone.text.python_code import python_files, without_header

SEED_CHAT = "seed_chat"
"""A text set that the seed writes as a dialogue with text/dialogue.yml; no source of documents."""
HUB = "hf:"
"""``hf:owner/name`` or ``hf:owner/name@split``: a Hugging Face data set."""
JOB_DOCUMENTS = 10
"""Fewest documents of a job's text: healing, guard and test share none."""
HUB_ROWS = 1000
"""Rows that are read of it, the first ones."""
GENSIM_DATA = "gensim/test/test_data"
WIKIPEDIA = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
NEWS = "lee_background.cor"
GENSIM_FILES = {"wikipedia": WIKIPEDIA, "news": NEWS}
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


log = logging.getLogger("birdbone")


@dataclass(frozen=True)
class Document:
    """One article, story, file or conversation. The title decides its split and must be stable.

    part: the one that it belongs to (heal, guard or test) where its text says so.
    """

    title: str
    text: str
    part: str = ""


def documents(source: str, chat: Chat | None = None) -> list[Document]:
    """All documents of a built-in domain, a folder, a .jsonl file, or a data set of a hub.

    JSONL lines have ``text`` or, with ``chat`` (a chat template), ``messages``. Blank documents of
    the user's own text are left out. Of several with the same text only the first is taken, because
    copies on both sides of a split would test what was learnt. Raises TextError naming the file and
    line at fault.
    """
    check_source(source)
    if source in BUILT_IN:
        return list(BUILT_IN[source]())
    path = Path(os.path.expanduser(source))
    if source.startswith(HUB):
        rows = list(_hub(source.removeprefix(HUB)))
    else:
        rows = list(folder_texts(path) if path.is_dir() else jsonl_texts(path, chat))
    titles: dict[str, str] = {}
    for title, text in rows:
        titles.setdefault(text, title)
    if copies := len(rows) - len(titles):
        log.info(
            "%s: %d of %d documents repeat another's text and are left out",
            source,
            copies,
            len(rows),
        )
    if not any(text.strip() for text in titles):
        raise TextError(f"text source {source!r} holds no text")
    return [Document(title, text) for text, title in titles.items() if text.strip()]


def check_source(source: str) -> None:
    """Raises TextError unless ``source`` names a text that ``documents`` can read."""
    path = Path(os.path.expanduser(source))
    if source.startswith(HUB):
        if find_spec("datasets") is None:
            raise TextError(
                f"text source {source!r} needs Hugging Face's datasets: pip install datasets"
            )
    elif source in BUILT_IN or (path.suffix.lower() == ".jsonl" and path.is_file()):
        return
    elif not path.is_dir():
        raise TextError(
            f"text source {source!r}: give one of {', '.join(BUILT_IN)}, a folder of .txt or .md "
            f"files, a .jsonl file, or {HUB}owner/name"
        )
    elif not any(file.is_file() for file in text_files(path)):
        raise TextError(f"text source {source!r} holds no text: there is no .txt or .md file in it")


def check_job(source: str) -> None:
    """Raises TextError where a folder has too few files to be learnt from and judged by."""
    path = Path(os.path.expanduser(source))
    if source in BUILT_IN or not path.is_dir():
        return
    count = sum(file.is_file() for file in text_files(path))
    if count < JOB_DOCUMENTS:
        raise TextError(
            f"text source {source!r} has {count} documents, too few for three parts that share "
            f"none: give {JOB_DOCUMENTS} or more, one a file"
        )


def _hub(name: str) -> Iterator[tuple[str, str]]:
    from datasets import load_dataset

    path, _, part = name.partition("@")
    try:
        rows = load_dataset(path, split=part or "train", streaming=True, trust_remote_code=False)
        for number, row in enumerate(itertools.islice(rows, HUB_ROWS)):
            if not isinstance(row["text"], str):
                raise TextError(
                    f"data set {path}, row {number}: its 'text' is no text: {row['text']!r:.80}"
                )
            yield f"row {number}", row["text"]
    except KeyError as error:
        raise TextError(
            f"data set {path}: it has no column {error}: text is read from 'text'"
        ) from error
    except (OSError, ValueError) as error:
        raise TextError(
            f"data set {path}: not found, or the hub did not give it ({type(error).__name__}). "
            "Check the name, the split and the network"
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
    for number, line in enumerate(_gensim(NEWS).read_text(encoding="latin-1").splitlines()):
        if line.strip():
            yield Document(f"story {number}", line.strip())


def built_in_files(source: str) -> dict[str, Path]:
    """The files that a built-in text is read from, by name; none where it is written by rule."""
    if source == "python":
        return {title: path for _, title, path in python_files()}
    if source == "code":
        return dict(_code_files())
    if source == "reference":
        return {"topics.py": Path(find_spec("pydoc_data.topics").origin)}
    if source in GENSIM_FILES:
        return {GENSIM_FILES[source]: _gensim(GENSIM_FILES[source])}
    return {}


def _reference() -> Iterator[Document]:
    from pydoc_data.topics import topics

    for title in sorted(topics):
        yield Document(title, topics[title].strip())


def _code() -> Iterator[Document]:
    for name, file in _code_files():
        yield Document(name, file.read_text(encoding="utf-8"))


def _python() -> Iterator[Document]:
    for part, title, file in python_files():
        try:
            yield Document(title, without_header(file.read_text(encoding="utf-8")), part)
        except UnicodeDecodeError:
            log.info("%s is not UTF-8 and is left out", file)


def _code_files() -> list[tuple[str, Path]]:
    import sysconfig

    library = Path(sysconfig.get_path("stdlib"))
    return [
        (name, library / f"{name}.py") for name in CODE_FILES if (library / f"{name}.py").is_file()
    ]


def _arithmetic() -> Iterator[Document]:
    for title, text in worksheets():
        yield Document(title, text)


BUILT_IN = {
    "wikipedia": _wikipedia,
    "news": _news,
    "reference": _reference,
    "code": _code,
    "python": _python,
    "arithmetic": _arithmetic,
}
