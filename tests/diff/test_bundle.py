"""A bundle on disk: named by what it changes, the same each time, and refused once it was
touched.
"""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from families import cut
from model_pairs import all_but, healed, masked, tiny

from birdbone.datasets.atomic import signed
from birdbone.diff.apply import apply_bundle
from birdbone.diff.bundle import (
    bundle_id,
    core_of,
    find_bundle,
    read_bundle,
    read_metrics,
    write_bundle,
)
from birdbone.diff.markdown import escaped
from birdbone.diff.records import Records
from birdbone.diff.revisions import Side
from birdbone.diff.states import open_state, state_of
from birdbone.errors import ArtifactError, BundleError
from birdbone.git.lock import tracked_model
from birdbone.model.vocabulary import with_tokens

SEED = tiny()
NEW = masked(healed(cut(SEED, {0: all_but(12, 3, 4)}, {})), "model.layers.1.mlp.up_proj.weight", 1)
FINAL = {
    "domains": {
        "news": {
            "perplexity": 11.0,
            "seed_perplexity": 10.0,
            "kl": 0.02,
            "top1": 0.9,
            "tokens": 100,
        }
    },
    "worst_domain": "news",
    "worst_change": 0.1,
    "limit": 0.03,
    "accepted": False,
    "canaries": {"code": {"accuracy": 0.5, "prompts": 4}},
}


def sides(**config):
    seed = {"bytes_f16": 2000, "canaries": {"code": {"accuracy": 1.0, "prompts": 4}}}
    known = {"seed": seed, "final": FINAL}
    waves = {
        1: {"prune": {"removed": {"ffn": {"0": 2}, "kv": {}}}, "verdict": {"status": "accepted"}}
    }
    curves = {1: [{"step": 0.0, "loss": 0.2}, {"step": 1.0, "loss": 0.1}]}
    quantize = {"tensor_bytes": 700, "counts": {"Q8_0": 3}}
    old = Side(
        "the seed", state_of(SEED), Records({**known, "is_seed": True}), {"steps": 1, "gone": True}
    )
    new = Side(
        "workspace",
        state_of(NEW),
        Records({**known, "quantize": quantize}, waves, curves),
        {"steps": 2, **config},
    )
    return old, new


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(*sides(), state_of(SEED), tmp_path, "0" * 40)


def test_it_says_what_was_removed_what_it_cost_and_how_to_take_it_back(bundle):
    text = (bundle / "report.md").read_text()
    for part in (
        "layer 0: 2 FFN neurons removed",
        "Verdict of the guard: **rejected**: news +10.0",
        "| perplexity, news | 10.00 | 11.00 (+10.0",
        "| canaries right | 100",
        "wave 1, prune: removed 2 FFN neurons",
        "quantize: 3 × Q8_0",
        "~ steps: 1 → 2",
        f"birdbone diff revert {bundle.name}",
    ):
        assert part in text, part
    assert "up\\_proj" in text and "weights masked" in text
    assert (bundle / "config.diff").read_text().splitlines() == ["- gone: true", "~ steps: 1 → 2"]


def test_it_says_which_tokens_went_and_takes_them_back(tmp_path):
    old, new = sides()
    rows = SEED.weights[SEED.layout.embedding].shape[0]
    few = with_tokens(SEED, torch.arange(rows - 2))
    gone = {"tokens": rows - 2, "of": rows, "removed": ["Ġ<b>", "ing"]}
    figures = {**new.records.figures, "vocabulary": gone}
    trimmed = replace(new, state=state_of(few), records=replace(new.records, figures=figures))
    folder = write_bundle(old, trimmed, state_of(SEED), tmp_path, None)
    text = (folder / "report.md").read_text()
    assert f"- {rows - 2:,} of {rows:,} tokens are left" in text
    assert "- 2 tokens went: ing, Ġ&lt;b&gt;" in text
    page = (folder / "report.html").read_text()
    assert "2 tokens went" in page and "ing Ġ&lt;b&gt;" in page
    stale = replace(new, records=trimmed.records)
    again = write_bundle(old, stale, state_of(SEED), tmp_path, None)
    assert "tokens went" not in (again / "report.md").read_text()
    seed = state_of(SEED)
    assert apply_bundle(seed, folder, seed, tmp_path / "new") == few.digest
    small = open_state(tmp_path / "new")
    assert apply_bundle(small, folder, seed, tmp_path / "old", revert=True) == SEED.digest


def test_both_ways_from_the_folder(bundle, tmp_path):
    seed = state_of(SEED)
    assert apply_bundle(seed, bundle, seed, tmp_path / "new") == NEW.digest
    assert (
        apply_bundle(open_state(tmp_path / "new"), bundle, seed, tmp_path / "old", revert=True)
        == SEED.digest
    )


def test_equal_changes_give_equal_bytes_and_one_name(bundle, tmp_path):
    again = write_bundle(*sides(), state_of(SEED), tmp_path / "again", "1" * 40)
    assert again.name == bundle.name
    for file in bundle.iterdir():
        if file.name != "manifest.json":
            assert file.read_bytes() == (again / file.name).read_bytes(), file.name
    assert read_bundle(bundle)["core"] == read_bundle(again)["core"]


def test_the_name_follows_the_change_and_not_the_commit():
    old, new = sides()
    core = core_of(old, new)
    assert bundle_id(core) != bundle_id(core_of(old, sides(steps=3)[1]))
    assert bundle_id(core) != bundle_id(core_of(new, old))
    assert len(bundle_id(core)) == 12


def test_a_touched_file_is_named(bundle):
    for file in sorted(bundle.iterdir()):
        data = file.read_bytes()
        file.write_bytes(data[:-1] + b"?")
        with pytest.raises(ArtifactError, match=file.name):
            read_bundle(bundle)
        file.write_bytes(data)
    assert read_bundle(bundle)["id"] == bundle.name


def test_the_patches_that_are_dvcs_may_be_there_alone(bundle):
    (bundle / "weights.patch").unlink()
    assert read_bundle(bundle)["id"] == bundle.name
    (bundle / "masks.patch").unlink()
    with pytest.raises(ArtifactError, match=r"masks\.patch"):
        read_bundle(bundle)
    (bundle / "masks.patch.dvc").touch()
    assert read_bundle(bundle)["id"] == bundle.name
    (bundle / "report.md").unlink()
    with pytest.raises(ArtifactError, match=r"report\.md"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["files"].pop("report.md"),
        lambda m: m["files"].update({"../../x": m["files"]["report.md"]}),
        lambda m: m.update(files=[]),
        lambda m: m.update(core={}, id=bundle_id({})),
        lambda m: m["core"].update(base="\x1b[31m") or m.update(id=bundle_id(m["core"])),
        lambda m: m["core"].update(new=3) or m.update(id=bundle_id(m["core"])),
        lambda m: m.update(id="../../../aaa"),
    ],
    ids=[
        "a file less",
        "a path out",
        "no files",
        "no core",
        "an escape",
        "a number",
        "a name that is a path",
    ],
)
def test_a_manifest_that_lies_under_a_right_checksum_is_refused(bundle, change):
    manifest = json.loads((bundle / "manifest.json").read_text())
    change(manifest)
    (bundle / "manifest.json").write_text(signed(manifest))
    with pytest.raises(ArtifactError, match="manifest.json"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"verdict": 3}', '{"verdict": "x", "worst_change": "y"}', "[" * 9999]
)
def test_figures_that_are_none_are_refused(bundle, text):
    assert read_metrics(bundle)["verdict"] == "rejected"
    (bundle / "metrics.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"metrics\.json"):
        read_metrics(bundle)


@pytest.mark.parametrize("name", ["../bundle", "/etc", "0000", "", "abc/def", "zz"])
def test_names_that_are_no_bundles_are_refused(tmp_path, name):
    with pytest.raises(BundleError):
        find_bundle(tmp_path, name)


def test_a_name_may_be_shortened_until_it_is_not_clear(bundle):
    root = bundle.parents[1]
    assert find_bundle(root, bundle.name[:6]) == bundle == find_bundle(root, str(bundle))
    shutil.copytree(bundle, bundle.with_name(bundle.name[:6] + "000000"))
    with pytest.raises(BundleError, match="2 bundles"):
        find_bundle(root, bundle.name[:6])


def test_one_model_is_no_change(tmp_path):
    old, _ = sides()
    with pytest.raises(BundleError, match="same model"):
        write_bundle(old, old, None, tmp_path, None)


def test_names_from_outside_stay_text_in_both_reports(tmp_path):
    evil = "<img src=x onerror=alert(1)> | [a](javascript:b) `"
    old, new = sides()
    final = {**FINAL, "domains": {evil: FINAL["domains"]["news"]}, "worst_domain": evil}
    old, new = (
        Side(
            s.label,
            s.state,
            Records({**s.records.figures, "final": final}, s.records.waves),
            s.config,
        )
        for s in (old, new)
    )
    folder = write_bundle(old, new, state_of(SEED), tmp_path, None)
    page, text = ((folder / f"report.{kind}").read_text() for kind in ("html", "md"))
    assert "<img" not in page and "&lt;img" in page
    assert (
        "<img" not in text and "](java" not in text and escaped(evil) in text and "| [" not in text
    )


def test_a_long_report_still_fits_a_pull_request_comment(tmp_path):
    settings = {f"k{i}": f"a välue öf some length, number {i} \U0001f9b4" * 20 for i in range(2000)}
    folder = write_bundle(*sides(**settings), state_of(SEED), tmp_path, None)
    text = (folder / "report.md").read_text()
    assert (
        len(text.encode()) < 60_000
        and "more (report.html has all)" in text
        and text.count("```") % 2 == 0
    )


def test_a_change_of_everything_in_a_deep_model_fits_it_too(tmp_path):
    seed = tiny(num_hidden_layers=80)
    new = cut(
        seed, {i: all_but(12, i % 12) for i in range(80)}, {i: all_but(2, i % 2) for i in range(80)}
    )
    new = healed(new)
    for name in [n for n in new.weights if "_proj" in n]:
        new = masked(new, name, 1)
    (old, _), (_, after) = sides(), sides(**{f"k{i}": "\U0001f9b4" * 400 for i in range(300)})
    named = {
        f"{i} {'`' * 300}": figures for i, figures in enumerate([FINAL["domains"]["news"]] * 60)
    }
    cell = {
        "cell_type": "code",
        "metadata": {},
        "source": "é" * 500,
        "outputs": [],
        "execution_count": None,
    }
    book = json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [cell] * 200})
    empty = json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": []})
    waves = {i: {"prune": {"why": "*" * 300}, "heal": {"why": "*" * 300}} for i in range(100)}
    records = Records({"final": {**FINAL, "domains": named}}, waves, {}, {"a.ipynb": book})
    before = Side(old.label, state_of(seed), Records({}, {}, {}, {"a.ipynb": empty}), old.config)
    story = write_bundle(
        before, Side("new", state_of(new), records, after.config), state_of(seed), tmp_path, None
    )
    text = (story / "report.md").read_text()
    assert 30_000 < len(text.encode()) < 60_000
    for part in (
        "layer 0: 1 FFN neuron removed; key-value group 0 removed",
        "## Which stage did it",
        "## Take it back",
    ):
        assert part in text
    assert "layer 79:" in (story / "report.html").read_text()


def test_the_tracked_model_is_the_last_waves(tmp_path):
    outs = [f"models/default/wave_{i}/accepted" for i in (1, 2, 10)] + ["models/default/seed"]
    stages = {f"s{i}": {"outs": [{"path": path, "md5": f"{i}.dir"}]} for i, path in enumerate(outs)}
    assert tracked_model(json.dumps({"stages": stages})) == (
        "models/default/wave_10/accepted",
        "2.dir",
        "s2",
    )
    assert tracked_model(None) is None and tracked_model("{}") is None
