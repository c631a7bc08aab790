"""Pictures in the terminal."""

import io

from rich.console import Console

from birdbone.scan.picture import difference, mean_picture
from birdbone.scan.terminal import heatmap, ribbon


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
