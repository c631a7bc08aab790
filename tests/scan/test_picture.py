"""A picture's z is taken at each token by itself; an integral is the mean of the tokens' own
pictures.
"""

import pytest
import torch
from small_scans import MODULES, scan_file

from birdbone.errors import ArtifactError, ConfigError
from birdbone.scan import picture as pictures
from birdbone.scan.picture import difference, limit, mean_picture, token_picture


def z(values):
    return (values - values.mean()) / values.std(correction=0)


@pytest.mark.parametrize("scope", ["layer", "model"])
def test_one_tokens_picture_is_z_of_a_minus_z_of_g_by_hand(tmp_path, scope):
    scan = scan_file(tmp_path / "s.mscan", {"code": 5})
    found, norms = token_picture(scan, 3, scope), scan.token(3)
    own = [m.name for m in MODULES if scope == "model" or m.layer == 1]
    a, g = (z(torch.cat([getattr(norms[n], side) for n in own])) for side in ("a", "g"))
    name, before = "layers.1.gate_proj", own.index("layers.1.gate_proj")
    at_a = sum(len(norms[n].a) for n in own[:before])
    at_g = sum(len(norms[n].g) for n in own[:before])
    expected = a[at_a : at_a + 2][None, :] - g[at_g : at_g + 4][:, None]
    torch.testing.assert_close(found.blocks(name), expected, atol=1e-4, rtol=1e-4)


def test_the_mean_picture_is_the_mean_of_the_tokens_pictures_in_batches_too(tmp_path, monkeypatch):
    scan = scan_file(tmp_path / "s.mscan", {"code": 5, "prose": 4})
    monkeypatch.setattr(pictures, "BATCH", 2)
    for source, tokens in ((None, range(9)), ("prose", range(5, 9))):
        found = mean_picture(scan, source=source)
        each = torch.stack([token_picture(scan, i).blocks("layers.0.down_proj") for i in tokens])
        torch.testing.assert_close(
            found.blocks("layers.0.down_proj"), each.mean(0), atol=1e-5, rtol=1e-4
        )
        assert found.what.startswith(f"mean over {len(tokens)} tokens")


def test_a_difference_of_two_text_sets_says_what_was_taken_away(tmp_path):
    scan = scan_file(tmp_path / "s.mscan", {"code": 5, "prose": 4})
    one, other = mean_picture(scan, source="code"), mean_picture(scan, source="prose")
    found = difference(one, other)
    name = "layers.1.q_proj"
    torch.testing.assert_close(found.blocks(name), one.blocks(name) - other.blocks(name))
    assert found.minus == "mean over 4 tokens of prose"
    assert all(abs(v) < 1e-6 for v in difference(one, one).module_means().values())


def test_blocks_of_other_widths_have_no_difference(tmp_path):
    narrow = [*MODULES[:-1], MODULES[-1].__class__("layers.1.down_proj", 1, 100, 128)]
    one = mean_picture(scan_file(tmp_path / "a.mscan", {"code": 2}))
    other = mean_picture(scan_file(tmp_path / "b.mscan", {"code": 2}, modules=narrow))
    with pytest.raises(ArtifactError, match=r"down_proj.*do not correspond.*seed's width"):
        difference(one, other)


def test_what_a_scan_has_not_is_named(tmp_path):
    scan = scan_file(tmp_path / "s.mscan", {"code": 3})
    with pytest.raises(ConfigError, match=r"no text set 'talk': it has code"):
        mean_picture(scan, source="talk")
    with pytest.raises(ConfigError, match=r"tokens 0 to 2, no token 3"):
        token_picture(scan, 3)


def test_the_colours_bound_is_round_and_holds_nearly_all(tmp_path):
    found = token_picture(scan_file(tmp_path / "s.mscan", {"code": 1}), 0)
    values = torch.cat([found.blocks(m.name).abs().flatten() for m in MODULES])
    bound = limit([found])
    assert (values <= bound).float().mean() >= 0.98
    assert round(bound * 2) == pytest.approx(bound * 2)
