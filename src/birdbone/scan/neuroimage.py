"""Neuroimages as PNG and as an animated GIF, by matplotlib; equal pictures give equal bytes."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from PIL import Image

from birdbone.scan.montage import Montage, montage
from birdbone.scan.picture import NAMES, POPULATION, Picture, limit

COLOURS = (
    "#c3f0ff",
    "#4db4ec",
    "#2466ab",
    "#1b2f52",
    "#14161f",
    "#4a1d2c",
    "#a8352f",
    "#f07f35",
    "#ffe2a0",
)
"""Low to high SPS, dark at zero: what stands out is what differs."""
GROUND = "#07080c"
INK = "#e8eaf0"
FAINT = "#8a92a6"
SCALE = LinearSegmentedColormap.from_list("sps", COLOURS)
DPI = 150
STYLE = {
    "font.family": "DejaVu Sans",
    "svg.hashsalt": "birdbone",
    "text.color": INK,
    "text.parse_math": False,
}
LONGEST = 32
"""Tokens of an animation, at most."""


def png(picture: Picture, prompt: str | None = None) -> bytes:
    """One picture: a slice per layer, colours symmetric about 0, a legend with z's population."""
    with matplotlib.rc_context(STYLE):
        figure, _ = _drawn(picture, prompt, limit([picture]))
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=DPI, facecolor=GROUND, metadata={"Software": None})
    return out.getvalue()


def gif(pictures: list[Picture], prompt: str | None = None, milliseconds: int = 900) -> bytes:
    """Pictures one after another on one scale. Raises ValueError unless 1 to ``LONGEST``."""
    if not 0 < len(pictures) <= LONGEST:
        raise ValueError(f"an animation has 1 to {LONGEST} pictures, got {len(pictures)}")
    bound = limit(pictures)
    frames = []
    with matplotlib.rc_context(STYLE):
        for picture in pictures:
            figure, _ = _drawn(picture, prompt, bound)
            figure.set_dpi(DPI * 2 / 3)
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            frame = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
            frames.append(frame.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE))
    out = io.BytesIO()
    frames[0].save(
        out,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        duration=milliseconds,
        loop=0,
        optimize=False,
    )
    return out.getvalue()


def _drawn(picture: Picture, prompt: str | None, bound: float) -> tuple[Figure, AxesImage]:
    plan = montage(picture.modules, picture.block)
    width = 11.0
    body = width * 0.94 * plan.height / plan.width
    head = 0.92
    foot = 0.86
    height = body + head + foot
    figure = Figure((width, height), facecolor=GROUND)
    axes = figure.add_axes((0.03, foot / height, 0.94, body / height))
    axes.set_axis_off()
    shown = axes.imshow(
        np.ma.masked_invalid(plan.canvas(picture)),
        cmap=SCALE,
        vmin=-bound,
        vmax=bound,
        interpolation="nearest",
        extent=(0, plan.width, plan.height, 0),
    )
    _label(axes, plan)
    _title(figure, picture, prompt, height)
    bar = figure.colorbar(
        shown,
        cax=figure.add_axes((0.03, 0.5 / height, 0.3, 0.13 / height)),
        orientation="horizontal",
    )
    bar.outline.set_visible(False)
    bar.set_ticks([-bound, 0, bound], labels=[f"≤ −{bound:g}", "0", f"≥ +{bound:g}"])
    bar.ax.tick_params(colors=INK, labelsize=8, length=0, pad=3)
    words = "difference of SPS" if picture.minus else "SPS = z(A) − z(G)"
    high = "more in the first" if picture.minus else "much used, little surprise"
    low = "less" if picture.minus else "little used, much surprise"
    figure.text(
        0.36, 0.555 / height, f"{words}:  blue {low},  amber {high}", fontsize=9, va="center"
    )
    figure.text(
        0.36,
        0.32 / height,
        f"{NAMES[picture.scope]}: {POPULATION[picture.scope]}.  One square: {picture.block} × "
        f"{picture.block} weights",
        fontsize=8,
        color=FAINT,
        va="center",
    )
    return figure, shown


def _title(figure: Figure, picture: Picture, prompt: str | None, height: float) -> None:
    title = f"“{_one_line(prompt)}”" if prompt else picture.model
    figure.text(0.03, 1 - 0.34 / height, title, fontsize=17, weight="bold", va="center")
    what = picture.what + (f"  minus  {picture.minus}" if picture.minus else "")
    model = f"{picture.model}, digest {picture.digest[:8]}" if picture.digest else picture.model
    figure.text(
        0.03,
        1 - 0.66 / height,
        f"{what}  ·  {NAMES[picture.scope]}  ·  {model}",
        fontsize=9,
        color=FAINT,
        va="center",
    )


def _label(axes: matplotlib.axes.Axes, plan: Montage) -> None:
    for layer, (top, left, _, _) in plan.slices.items():
        axes.text(
            left,
            top - 0.7,
            f"layer {layer}" if layer >= 0 else "outside layers",
            fontsize=6.5,
            color=FAINT,
        )
    first = plan.tiles[0].module.layer
    for tile in (t for t in plan.tiles if t.module.layer == first):
        name = tile.module.name.rpartition(".")[2].removesuffix("_proj") + (
            "ᵀ" if tile.turned else ""
        )
        axes.text(
            tile.left + tile.width / 2,
            tile.top + tile.height / 2,
            name,
            fontsize=6,
            ha="center",
            va="center",
            color=INK,
            path_effects=[withStroke(linewidth=2, foreground=GROUND)],
        )


def _one_line(text: str, longest: int = 70) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
