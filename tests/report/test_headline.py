"""The headline: few figures, all of them numbers that two runs can be compared by."""

from dataclasses import replace

from birdbone.report.headline import headline


def leaves(tree):
    return [leaf for v in tree.values() for leaf in (leaves(v) if isinstance(v, dict) else [v])]


def test_it_holds_single_numbers_and_fits_a_screen(report):
    figures = headline(report)
    assert all(isinstance(leaf, int | float) for leaf in leaves(figures))
    assert len(leaves(figures)) < 25


def test_it_says_how_large_how_good_and_how_fast_the_export_is(report):
    figures = headline(report)
    ours = report.file("ours")
    assert figures["bytes"] == ours["bytes"]
    assert figures["perplexity"] == {row["domain"]: row["after"] for row in report.domains}
    assert set(figures["waves"]) <= {str(wave["wave"]) for wave in report.waves}
    assert 0 <= figures["canaries"] <= 1


def test_what_was_not_measured_is_left_out(report):
    figures = headline(replace(report, canaries=[], kl=None))
    assert not {"canaries", "kl"} & figures.keys()
