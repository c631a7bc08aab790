"""The pictures of a scan as files: PNG of both norms, an animation, and the interactive page."""

from __future__ import annotations

from pathlib import Path

from birdbone.algo.sps import Scope
from birdbone.datasets.mscan import Scan
from birdbone.scan.neuroimage import LONGEST, gif, png
from birdbone.scan.page import FRAMES, scan_page
from birdbone.scan.picture import Picture, difference, mean_picture, token_picture

SCOPES: tuple[Scope, ...] = ("layer", "model")


def write_pictures(
    scan: Scan, folder: Path, prompt: str | None = None, source: str | None = None
) -> list[str]:
    """Write the pictures of a scan; returns the names written.

    ``layer-norm.png`` and ``global-norm.png`` show ∫SPS, ``tokens.gif`` up to ``LONGEST`` tokens,
    ``neuroimage.html`` the first ``FRAMES`` tokens.
    """
    means = {scope: mean_picture(scan, scope, source) for scope in SCOPES}
    tokens = [i for i, text_set in enumerate(scan.sources) if source in (None, text_set)][:FRAMES]
    each = {scope: [token_picture(scan, i, scope) for i in tokens] for scope in SCOPES}
    written = _write_means(means, folder, prompt)
    if len(tokens) <= LONGEST:
        (folder / "tokens.gif").write_bytes(gif(each["layer"], prompt))
        written.append("tokens.gif")
    labels = ["mean", *(scan.tokens[i] or str(i) for i in tokens)]
    html = scan_page({scope: [means[scope], *each[scope]] for scope in SCOPES}, labels, prompt)
    (folder / "neuroimage.html").write_text(html)
    return [*written, "neuroimage.html"]


def write_difference(
    one: Scan, other: Scan, folder: Path, source: str | None = None, minus_source: str | None = None
) -> tuple[list[str], Picture]:
    """The same files for one scan's (text set's) mean picture minus another's.

    Returns the names written and the layer-norm difference. Raises as ``difference`` does.
    """
    pairs = {
        scope: (mean_picture(one, scope, source), mean_picture(other, scope, minus_source))
        for scope in SCOPES
    }
    differences = {scope: difference(*pair) for scope, pair in pairs.items()}
    written = _write_means(differences, folder, None)
    html = scan_page({scope: [picture] for scope, picture in differences.items()}, ["difference"])
    (folder / "neuroimage.html").write_text(html)
    return [*written, "neuroimage.html"], differences["layer"]


def _write_means(pictures: dict[Scope, Picture], folder: Path, prompt: str | None) -> list[str]:
    names = {"layer": "layer-norm.png", "model": "global-norm.png"}
    for scope, picture in pictures.items():
        (folder / names[scope]).write_bytes(png(picture, prompt))
    return list(names.values())
