"""``birdbone scan``, ``replay`` and ``image``: look at a model on a prompt, step through a scan, draw it."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from birdbone.errors import BirdboneError, ConfigError, TextError

FILE = click.argument("file", type=click.Path(path_type=Path))
PARTIAL = click.option("--partial", is_flag=True, help="Read a scan that was cut off, up to its last whole chunk.")
MODEL = click.option(
    "--model", type=click.Path(path_type=Path), help="Refuse the scan unless it is of this model folder."
)
NORM = click.option("--norm", type=click.Choice(["layer", "global"]), default="layer", show_default=True)
SCOPE = {"layer": "layer", "global": "model"}
SECONDS = 0.7
"""Each token is shown while playing."""


@click.command()
@click.argument("prompt")
@click.option("--model", default=None, help="Model folder, preset, .gguf or hub id; default: the profile's seed.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Folder; default: scans/<prompt>.")
@click.option("--env", default=None, help="Profile, as for kedro run.")
def scan(prompt: str, model: str | None, out: Path | None, env: str | None) -> None:
    """Scan a prompt: a heatmap here, the .mscan file, PNG pictures, an animation and a page in a folder.

    \b
      birdbone scan "3+5=?"
      birdbone scan "3+5=?" --model models/default/wave_2/accepted --out scans/healed
    """
    from birdbone.datasets.mscan_open import open_scan
    from birdbone.model.device import resolve_device
    from birdbone.run.config import make_loader, project_root
    from birdbone.scan.files import write_pictures
    from birdbone.scan.open import open_model
    from birdbone.scan.picture import mean_picture
    from birdbone.scan.prompt import scan_prompt

    if not prompt:
        raise TextError("the prompt is empty: give some text to scan")
    root = project_root()
    loader = make_loader(root, env)
    settings = loader.checked
    folder = out or Path("scans") / _slug(prompt)
    _check_place(folder)
    opened = open_model(model, root, loader)

    def fill(place: Path) -> dict:
        scan_prompt(
            prompt,
            opened.checkpoint,
            opened.tokenizer,
            place / "scan.mscan",
            name=opened.name,
            digest=opened.digest,
            device=resolve_device(settings.device),
            block=settings.sps_scan.block,
        )
        write_pictures(open_scan(place / "scan.mscan"), place, prompt)
        return {"scan": prompt}

    files = _written(folder, fill)
    done = open_scan(folder / "scan.mscan")
    _show(Console(), mean_picture(done), done.tokens, None)
    _say(folder, files)


@click.command()
@FILE
@click.option("--token", type=click.IntRange(min=0), default=0, help="Begin with this one.")
@click.option("--play", is_flag=True, help="Go on by itself, to the end.")
@NORM
@MODEL
@PARTIAL
def replay(file: Path, token: int, play: bool, norm: str, model: Path | None, partial: bool) -> None:
    """Step through a scan's tokens: arrows or ENTER, g for the other norm, q to leave.

    Where there is no terminal, prints the one token, or with --play all from there on.
    """
    from birdbone.scan.picture import token_picture

    record, console = _open(file, model, partial), Console()
    picture = token_picture(record, token, SCOPE[norm])
    if not (sys.stdin.isatty() and console.is_terminal):
        for i in range(token, len(record) if play else token + 1):
            _show(console, picture if i == token else token_picture(record, i, SCOPE[norm]), record.tokens, i)
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        _step(live, console, record, token, play, SCOPE[norm])


@click.command()
@FILE
@click.option("--source", default=None, help="Only this text set of the scan, such as code.")
@click.option("--minus", type=click.Path(path_type=Path), default=None, help="A scan to take away, of the same text.")
@click.option("--minus-source", default=None, help="A text set to take away: of --minus, or of FILE itself.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for PNG and HTML.")
@MODEL
@PARTIAL
def image(
    file: Path,
    source: str | None,
    minus: Path | None,
    minus_source: str | None,
    out: Path,
    model: Path | None,
    partial: bool,
) -> None:
    """Draw a scan, one of its text sets, or a difference: of two text sets, or of two models on the same text.

    \b
      birdbone image data/04_feature/domains.mscan --source code --minus-source dialogue --out scans/code-dialogue
      birdbone image scans/seed/scan.mscan --minus scans/healed/scan.mscan --out scans/healing
    """
    from birdbone.scan.files import write_difference, write_pictures
    from birdbone.scan.picture import mean_picture

    _check_place(out)
    one = _open(file, model, partial)
    other = _open(minus, None, partial) if minus else one if minus_source else None
    if minus and not minus_source and one.tokens != other.tokens:
        raise ConfigError(f"{file} and {minus} are scans of other texts: a difference would mix text and model")
    shown = []

    def fill(place: Path) -> dict:
        if other:
            shown.append(write_difference(one, other, place, source, minus_source)[1])
        else:
            write_pictures(one, place, None, source)
            shown.append(mean_picture(one, "layer", source))
        return {"scan": str(file)}

    files = _written(out, fill)
    _show(Console(), shown[0], [], None)
    _say(out, files)


def _open(file: Path, model: Path | None, partial: bool):
    from birdbone.datasets.atomic import read_manifest
    from birdbone.datasets.mscan_open import open_scan

    record = open_scan(file, model_digest=read_manifest(model).get("digest") if model else None, partial=partial)
    if not len(record):
        raise ConfigError(f"{file} holds no token: scan again")
    for fault in record.faults:
        click.echo(f"note: {file.name}: {fault}", err=True)
    return record


def _step(live: Live, console: Console, record, token: int, play: bool, scope: str) -> None:
    from birdbone.scan.picture import token_picture

    while True:
        live.update(_screen(console, token_picture(record, token, scope), record.tokens, token), refresh=True)
        if play:
            time.sleep(SECONDS)
            if token + 1 == len(record):
                return
            token += 1
            continue
        key = click.getchar()
        if key in ("q", "\x1b", "\x03", "\x04"):
            return
        if key == "g":
            scope = "model" if scope == "layer" else "layer"
        back = key in ("\x1b[D", "p", "h", "\x7f")
        if key in ("\r", "\n", " ", "n", "l", "\x1b[C") or back:
            token = (token + (-1 if back else 1)) % len(record)


def _screen(console: Console, picture, tokens: list[str], token: int | None) -> Group:
    from birdbone.scan.terminal import heatmap, ribbon

    head = [ribbon(tokens, token)] if tokens else []
    about = Text(f"{picture.model}, {picture.what}" + (f" minus {picture.minus}" if picture.minus else ""), "bold")
    colour = console.is_terminal and console.color_system is not None
    return Group(*head, about, Text(), heatmap(picture, colour))


def _show(console: Console, picture, tokens: list[str], token: int | None) -> None:
    console.print(_screen(console, picture, tokens, token), highlight=False)


def _check_place(folder: Path) -> None:
    """Raises ConfigError for a folder that holds something else than an earlier scan: it would be replaced."""
    from birdbone.datasets.atomic import read_manifest

    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        try:
            ours = folder.is_dir() and "scan" in read_manifest(folder)
        except BirdboneError:
            ours = False
        if not ours:
            raise ConfigError(f"--out {folder}: it holds other files, which would be replaced; give a new folder")


def _written(folder: Path, fill: Callable[[Path], dict]) -> list[str]:
    from birdbone.datasets.atomic import write_folder

    return list(write_folder(folder, fill)["files"])


def _say(folder: Path, files: list[str]) -> None:
    for name in files:
        click.echo(folder / name)


def _slug(prompt: str) -> str:
    words = re.sub(r"[^\w+=.()-]+", "-", prompt).strip("-.")[:40]
    return words or "prompt"
