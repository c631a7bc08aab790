"""A page holds its pictures and needs no network."""

import json
import re

import pytest

from birdbone.scan.page import scan_page
from birdbone.scan.picture import POPULATION, mean_picture, token_picture


def test_a_page_holds_every_picture_and_reads_nothing_from_outside(scan):
    pictures = {s: [mean_picture(scan, s), token_picture(scan, 1, s)] for s in ("layer", "model")}
    labels = ["mean", "</script><b>"]
    found = scan_page(pictures, labels, "<i>3+5=?")
    assert scan_page(pictures, labels, "<i>3+5=?") == found
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
        scan_page({"layer": [mean_picture(scan)]}, ["a", "b"])
