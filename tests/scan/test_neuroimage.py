"""Pictures as files: equal scans give equal bytes."""

import io

import pytest
from PIL import Image

from birdbone.scan.neuroimage import gif, png
from birdbone.scan.picture import mean_picture, token_picture


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
