"""The user's own text: a folder of .txt and .md files, or a .jsonl file.

Text is UTF-8, with or without a byte-order mark.
"""

from __future__ import annotations

import codecs
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from birdbone.errors import TextError
from birdbone.text.conversations import KEYS, Chat, templated

SUFFIXES = (".txt", ".md")
COMMON = 0.1
"""A title of more than this share of the lines names a kind of text, not a document."""

log = logging.getLogger("birdbone")


def text_files(folder: Path) -> list[Path]:
    """The .txt and .md files below a folder, and broken links, sorted. Hidden files are skipped.

    Linked folders are followed. A folder that is reached in two ways is read once, by its real path
    where that lies below the folder. Raises TextError naming a folder that cannot be read.
    """
    paths = []
    visited = set()
    waiting = [folder]
    while waiting:
        place = waiting.pop(0)
        if place.resolve() in visited:
            continue
        visited.add(place.resolve())
        try:
            for entry in sorted(place.iterdir()):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    waiting.insert(len(waiting) if entry.is_symlink() else 0, entry)
                elif entry.suffix.lower() in SUFFIXES or not entry.exists():
                    paths.append(entry)
        except OSError as error:
            raise TextError(f"folder {place} cannot be read: {error.strerror}") from error
    return sorted(paths)


def folder_texts(folder: Path) -> Iterator[tuple[str, str]]:
    """(path below the folder, text) of its files. Raises TextError naming a file not in UTF-8."""
    for file in text_files(folder):
        if not file.is_file():
            log.warning("%s is passed over: it leads to no file", file)
            continue
        try:
            text = _bytes(file).decode()
        except UnicodeDecodeError as error:
            raise TextError(f"{file} is not UTF-8 text: {error}") from error
        if "\0" in text:
            raise TextError(f"{file} is not UTF-8 text: it holds NUL bytes, as UTF-16 does")
        yield file.relative_to(folder).as_posix(), text.replace("\r\n", "\n").replace("\r", "\n")


def jsonl_texts(path: Path, chat: Chat | None) -> Iterator[tuple[str, str]]:
    """(title, text) of each line: its ``text``, or with ``chat`` its conversation.

    chat: a chat template. Lines with the same title go to the same split. So a line without a title
    gets its number as title, and a title that more than a tenth of all lines share gets the number
    appended. Raises TextError naming the line at fault.
    """
    rows = []
    for number, line in enumerate(_bytes(path).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            title, text = _row(line.decode(), chat)
            text.encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError) as error:
            raise TextError(f"{path}, line {number}: {error}") from error
        rows.append((number, title or f"line {number}", text))
    lines = Counter(title for _, title, _ in rows)
    for number, title, text in rows:
        yield (
            f"{title}, line {number}" if lines[title] > max(1, COMMON * len(rows)) else title,
            text,
        )


def _row(line: str, chat: Chat | None) -> tuple[str, str]:
    """Title ("" for none) and text. Raises ValueError saying what the line lacks."""
    keys = '"text" or "messages"' if chat else '"text" (set text.chat to read "messages")'
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f"needs a JSON object with {keys}: {error}") from error
    talk = (
        next((key for key in KEYS if key in record), None)
        if chat and isinstance(record, dict)
        else None
    )
    if talk is None and not (isinstance(record, dict) and isinstance(record.get("text"), str)):
        raise ValueError(f"needs a JSON object with {keys}")
    try:
        text = templated(record[talk], chat) if talk else record["text"]
    except ValueError as error:
        raise ValueError(f"{keys} cannot be read: {error}") from error
    title = record.get("title")
    return "" if title is None else str(title).strip(), text


def _bytes(path: Path) -> bytes:
    """A file's bytes without the byte-order mark.

    Raises TextError where it cannot be read or is UTF-16 or UTF-32.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TextError(f"{path} cannot be read: {error.strerror}") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise TextError(f"{path} is not UTF-8 text but UTF-16: save it as UTF-8")
    return data.removeprefix(codecs.BOM_UTF8)
