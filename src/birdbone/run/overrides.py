"""Parameters given on the command line: ``--params=text.window=64,report.peers=[Q8_0, Q4_0]``, one
parser for all.

A piece is ``name=value``; dots in the name lead into groups. A value is what YAML makes of it: a
number, ``true``, ``null``, a list in ``[]``, a group in ``{}``, text in quotes. All else is text as
it stands, up to the next comma.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import click

from birdbone.errors import ConfigError

HELP = """Parameters laid over those of conf/: name=value, more after commas. May be given more than once.

\b
model=gpt2,text.window=64        numbers and text
'report.peers=[Q8_0, Q4_0]'      a list
'guard.tasks={arc_easy: 0.02}'   a group
'text.source="my texts, new"'    a comma in text
model=NAME,model.adapter=FOLDER  with an adapter
"""
QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'""", re.DOTALL)
QUOTES, OPENING, CLOSING = ("'", '"'), ("[", "{"), ("]", "}")


class Overrides(click.Option):
    """A ``--params`` option: its value is the tree of what was given."""

    def __init__(self, *names: Any, **settings: Any) -> None:
        settings = {"default": (), "help": HELP, "metavar": "NAME=VALUE", **settings}
        super().__init__(*names, multiple=True, type=click.UNPROCESSED, **settings)

    def type_cast_value(self, ctx: click.Context, value: Any) -> dict:
        if isinstance(value, Mapping):  # of a file given with `kedro run --config`
            return dict(value)
        try:
            return parse(value if isinstance(value, str) else ",".join(value or ()))
        except ConfigError as error:
            raise click.BadParameter(str(error), ctx, self) from None


def parse(text: str) -> dict:
    """The tree of ``name=value`` pieces; a later piece is laid over an earlier one.

    ``model=NAME`` beside ``model.adapter=FOLDER`` is the group's ``name``. Raises ConfigError
    naming the piece at fault.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    pairs, tree = [(name, _value(name, value)) for name, value in _pieces(text)], OmegaConf.create()
    grouped = any(name.startswith("model.") for name, _ in pairs)
    for name, value in pairs:
        if name == "model" and grouped and isinstance(value, str):
            name = "model.name"
        try:
            OmegaConf.update(tree, name, value)
        except (OmegaConfBaseException, ValueError) as error:
            raise ConfigError(f"{name} cannot be set: {error}") from None
    return OmegaConf.to_container(tree)


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Names and values as they are written."""
    place = 0
    while place < len(text):
        name, equals, _ = text[place : _comma(text, place)].partition("=")
        if not name.strip() and not equals:
            place += len(name) + 1
            continue
        if not equals:
            raise ConfigError(
                f"{name.strip()!r} has no `=`: give name=value, as in waves=3. A value with a "
                "comma in it stands in "
                "quotes"
            )
        if not name.strip():
            raise ConfigError(f"{text[place:]!r} has no name before its `=`: give name=value, as in waves=3")
        start = place + len(name) + 1
        place = _end(text, start)
        yield name.strip(), text[start:place].strip()
        place += 1


def _comma(text: str, start: int) -> int:
    """Where the next comma is, or the end of the text."""
    place = text.find(",", start)
    return len(text) if place < 0 else place


def _end(text: str, start: int) -> int:
    """Where the value that begins at ``start`` ends: at a comma outside its quotes and brackets, or
    with the text.
    """
    start = len(text) - len(text[start:].lstrip())
    if text.startswith((*QUOTES, *OPENING), start):
        closed = _closed(text, start)
        if not text[closed : _comma(text, closed)].strip():
            return _comma(text, closed)
    return _comma(text, start)  # plain, also where it only begins like a list: a folder called "[old] texts"


def _closed(text: str, start: int) -> int:
    """Behind the quote or bracket that closes the one at ``start``. Raises ConfigError where none
    does.
    """
    depth, place, begins = 0, start, True
    while place < len(text):
        letter = text[place]
        if begins and letter in QUOTES:  # elsewhere it is an apostrophe
            quoted = QUOTED.match(text, place)
            if not quoted:
                break
            place, begins = quoted.end(), False
        else:
            depth += (letter in OPENING) - (letter in CLOSING)
            begins = letter in (*OPENING, ",", ":") or (begins and letter.isspace())
            place += 1
        if depth == 0:
            return place
    raise ConfigError(f"{text[start:]!r} does not close its quote or bracket")


def _value(name: str, text: str) -> Any:
    """What YAML, as Kedro reads it, makes of a value; but plain text stays as it is, its colons and
    hashes too.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    plain = not text.startswith((*QUOTES, *OPENING)) or _closed(text, 0) < len(text)
    try:
        value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]
    except YAMLError as error:
        if plain:
            return text
        raise ConfigError(f"{name}={text} cannot be read: {getattr(error, 'problem', error)}") from None
    except OmegaConfBaseException as error:
        raise ConfigError(f"{name}={text} cannot be read: {str(error).splitlines()[0]}") from None
    return text if plain and isinstance(value, (str, list, dict)) else value
