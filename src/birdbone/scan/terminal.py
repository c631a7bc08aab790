"""A picture in the terminal: layers downwards, two a line in half blocks; modules side by side."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from birdbone.scan.neuroimage import COLOURS, SCALE
from birdbone.scan.picture import NAMES, Picture

WIDTH = 7
"""Characters to a module."""


def heatmap(picture: Picture, colour: bool = True) -> Group:
    """Mean SPS of each layer's modules with a legend; as figures where there is no colour."""
    means = picture.module_means()
    layers = sorted({m.layer for m in picture.modules})
    columns = list(dict.fromkeys(_short(m.name) for m in picture.modules))
    values = {(m.layer, _short(m.name)): means[m.name] for m in picture.modules}
    bound = max([abs(v) for v in values.values()] + [1e-9])
    lines = [
        Text("layer ")
        + Text("".join(f"{name[: WIDTH - 1]:<{WIDTH}}" for name in columns), style="bold")
    ]
    lines += (
        _coloured(values, layers, columns, bound) if colour else _figures(values, layers, columns)
    )
    low = "less" if picture.minus else "much surprise"
    high = "more in the first" if picture.minus else "much used, little surprise"
    legend = Text(f"\n{NAMES[picture.scope]}, mean SPS of a module, ±{bound:.2f}: ")
    legend.append("■" if colour else "−", COLOURS[2]).append(f" {low}  ")
    legend.append("■" if colour else "+", COLOURS[-2]).append(f" {high}")
    return Group(*lines, legend)


def _coloured(values: dict, layers: list[int], columns: list[str], bound: float) -> list[Text]:
    lines = []
    for top, bottom in zip(layers[::2], [*layers[1::2], None], strict=False):
        line = Text().append(f"{top:>2} {'' if bottom is None else bottom:>2} ", "dim")
        for name in columns:
            above, below = (_colour(values.get((layer, name)), bound) for layer in (top, bottom))
            line.append(
                "▀" * (WIDTH - 1) if above else " " * (WIDTH - 1), _style(above, below)
            ).append(" ")
        lines.append(line)
    return lines


def _figures(values: dict, layers: list[int], columns: list[str]) -> list[Text]:
    cells = {place: f"{value:+.2f}" for place, value in values.items()}
    return [
        Text(
            f"{layer:>5} " + "".join(f"{cells.get((layer, name), ''):<{WIDTH}}" for name in columns)
        )
        for layer in layers
    ]


def ribbon(tokens: list[str], at: int | None, around: int = 12) -> Text:
    """The tokens about place ``at``, that one marked; the first ones for None."""
    start = max(0, (at or 0) - around)
    line = Text("… " if start else "", overflow="ellipsis", no_wrap=True)
    for i, token in enumerate(tokens[start : start + 2 * around + 1], start):
        shown = token.replace("\n", "⏎").replace("\t", "⇥").replace("\r", "␍") or "·"
        line.append(shown, "bold reverse" if i == at else "").append("│", "dim")
    return line


def _short(name: str) -> str:
    return name.rpartition(".")[2].removesuffix("_proj")


def _colour(value: float | None, bound: float) -> str | None:
    if value is None:
        return None
    red, green, blue, _ = SCALE(0.5 + 0.5 * value / bound, bytes=True)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _style(above: str | None, below: str | None) -> str:
    return f"{above or 'default'} on {below}" if below else above or "default"
