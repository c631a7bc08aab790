"""Pictures and pages: equal scans give equal bytes, and a page needs no network."""

import io
import json
import re

import pytest
from PIL import Image
from rich.console import Console
from small_scans import scan_file

from birdbone.scan.neuroimage import gif, png
from birdbone.scan.page import page
from birdbone.scan.picture import POPULATION, difference, mean_picture, token_picture
from birdbone.scan.terminal import heatmap, ribbon


@pytest.fixture
def scan(tmp_path):
    return scan_file(tmp_path / "s.mscan", {"code": 3, "prose": 3})


def test_a_png_is_the_same_each_time_and_bears_no_date_or_tool(scan):
    first, again = (png(mean_picture(scan), "3+5=?") for _ in range(2))
    assert first == again
    assert png(token_picture(scan, 0)) != first
    assert not Image.open(io.BytesIO(first)).info.keys() & {"Software", "Creation Time", "date"}


def test_a_gif_has_one_frame_per_token(scan):
    pictures = [token_picture(scan, i) for i in range(3)]
    found = gif(pictures, "3+5=?")
    assert Image.open(io.BytesIO(found)).n_frames == 3
    assert gif(pictures, "3+5=?") == found
    with pytest.raises(ValueError, match="1 to 32"):
        gif(pictures * 11)


def test_a_page_holds_every_picture_and_reads_nothing_from_outside(scan):
    pictures = {s: [mean_picture(scan, s), token_picture(scan, 1, s)] for s in ("layer", "model")}
    labels = ["mean", "</script><b>"]
    found = page(pictures, labels, "<i>3+5=?")
    assert page(pictures, labels, "<i>3+5=?") == found
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", found.partition('id="plotly-gzip"')[0])
    assert "<b>" not in found.replace("<b>blue", "").replace("<b>amber", "") and "&lt;i&gt;3+5=?" in found
    data = json.loads(re.search(r'id="pictures">(.*?)</script>', found, re.DOTALL)[1])
    assert data["labels"] == labels
    assert data["norms"]["model"]["population"] == POPULATION["model"]
    blocks = pictures["layer"][1].blocks("layers.0.q_proj")
    frame = data["norms"]["layer"]["frames"][1]
    assert frame["a"][0] - frame["g"][0] == pytest.approx(float(blocks[0, 0]), abs=0.011)
    assert len(frame["a"]) == sum(tile[5] for tile in data["tiles"])


def test_a_page_needs_a_picture_for_each_label(scan):
    with pytest.raises(ValueError, match="2 pictures of each norm"):
        page({"layer": [mean_picture(scan)]}, ["a", "b"])


def printed(what, **options):
    console = Console(file=io.StringIO(), width=100, **options)
    console.print(what)
    return console.file.getvalue()


def test_the_terminal_shows_colours_or_else_figures(scan):
    picture = mean_picture(scan)
    coloured = printed(heatmap(picture), force_terminal=True, color_system="truecolor")
    assert "▀" in coloured and "\x1b[38;2;" in coloured
    plain = printed(heatmap(picture, colour=False))
    assert f"{picture.module_means()['layers.1.down_proj']:+.2f}" in plain
    assert "layer norm" in plain and "▀" not in plain


def test_the_terminal_says_which_way_a_difference_goes(scan):
    found = difference(mean_picture(scan, source="code"), mean_picture(scan, source="prose"))
    assert "more in the first" in printed(heatmap(found, colour=False))


def test_the_token_is_marked_among_its_neighbours():
    text = printed(ribbon(["a", "\n", "b"], 1), force_terminal=True)
    assert "\x1b[1;7m⏎" in text
    assert printed(ribbon([str(i) for i in range(50)], 40)).startswith("… 28│")
