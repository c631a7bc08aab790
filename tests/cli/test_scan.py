"""birdbone scan, replay, image: what they print and write, and one line and exit code 1 for bad
input.
"""

import json
import struct
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import torch
from places import ROOT
from small_scans import model, scan_file, tokenizer_folder

from birdbone.cli import main as console
from birdbone.cli import scan as commands
from birdbone.datasets.atomic import verify_folder, write_folder
from birdbone.datasets.folders import FileFolder, ModelFolder
from birdbone.datasets.mscan_open import open_scan


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command in the project: (exit code, standard output, standard error)."""

    def started(*line):
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", ["birdbone", *map(str, line)])
        try:
            console.main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        found = capsys.readouterr()
        return code, found.out, found.err

    return started


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of models as a stage writes them: seed, its tokenizer, and one whose gradients
    overflow.
    """
    place = tmp_path_factory.mktemp("models")
    seed, ill = model(), model()
    ill.weights["model.norm.weight"] = torch.full((64,), 1e38)
    ModelFolder(str(place / "seed")).save(seed)
    ModelFolder(str(place / "ill")).save(ill)
    FileFolder(str(place / "tokenizer")).save(lambda folder: tokenizer_folder(folder) and None)
    return place


def test_scan_prints_a_heatmap_and_writes_verified_files(run, models, tmp_path):
    code, out, err = run(
        "scan", "3 + 5 = ", "--model", models / "seed", "--out", tmp_path / "s", "--env", "tiny"
    )
    assert code == 0, err
    assert "layer norm, mean SPS" in out
    names = ["global-norm.png", "layer-norm.png", "neuroimage.html", "scan.mscan", "tokens.gif"]
    assert [Path(line).name for line in out.splitlines()[-5:]] == names
    assert set(verify_folder(tmp_path / "s")["files"]) == set(names)
    scan = open_scan(tmp_path / "s" / "scan.mscan", model_digest=model().digest)
    assert scan.sources[0] == "3 + 5 = "


@pytest.mark.parametrize(
    ("prompt", "which", "message"),
    [
        ("", "seed", "the prompt is empty"),
        ("3", "seed", "give at least two"),
        ("3 + 5 " * 40, "seed", "context of"),
        ("3 + 5 = 8", "ill", "not finite"),
        ("3 + 5 = 8", "none", "unknown model"),
        ("3 + 5 = 8", "tokenizer", "holds no model"),
    ],
)
def test_what_cannot_be_scanned_is_one_line_and_leaves_nothing(
    run, models, tmp_path, prompt, which, message
):
    code, out, err = run(
        "scan", prompt, "--model", models / which, "--out", tmp_path / "s", "--env", "tiny"
    )
    assert code == 1 and message in err and len(err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_never_replaced(run, models, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    code, _, err = run(
        "scan", "3 + 5", "--model", models / "seed", "--out", tmp_path, "--env", "tiny"
    )
    assert code == 1 and "holds other files" in err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_replay_prints_one_token_or_all(run, tmp_path):
    scan_file(tmp_path / "s.mscan", {"code": 3})
    code, out, _ = run("replay", tmp_path / "s.mscan", "--token", 1)
    assert code == 0 and "token 1, 'c1'" in out and "token 2" not in out
    code, out, _ = run("replay", tmp_path / "s.mscan", "--play", "--norm", "global")
    assert code == 0 and all(f"token {i}, 'c{i}'" in out for i in range(3)) and "global norm" in out


def test_replay_reads_version_1_and_says_its_faults(run, tmp_path):
    head = {"model_name": "old", "id_to_param_name_map": {"0": "model.layers.4.mlp.up_proj"}}
    text = json.dumps({**head, "sequences": [{"num_tokens": 2, "source": "3+5=?"}]}).encode()
    rows = b"".join(
        struct.pack("<IHHHH", *r) for r in [(0, 0, 0, 7, 0), (1, 0, 0, 9, 0), (1, 0, 2, 11, 0)]
    )
    (tmp_path / "old.mscan").write_bytes(
        struct.pack("<5sHII", b"MSCAN", 1, 15 + len(text), 3) + text + rows
    )
    code, out, err = run("replay", tmp_path / "old.mscan", "--token", 1)
    assert code == 0 and "old, token 1" in out
    assert "note: old.mscan: every gradient is zero" in err and "pairs input block" in err


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def of_version_3(path):
    path.write_bytes(path.read_bytes().replace(b"MSCAN\x02", b"MSCAN\x03", 1))


def no_scan(path):
    path.write_text("a text")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "truncated or corrupted"),
        (of_version_3, "version 3; versions 1 and 2 can be read"),
        (no_scan, "not an .mscan file"),
        (Path.unlink, "cannot be read"),
    ],
)
@pytest.mark.parametrize("command", ["replay", "image"])
def test_a_bad_scan_file_is_one_line_and_writes_nothing(run, tmp_path, command, damage, message):
    scan_file(tmp_path / "s.mscan", {"code": 3, "prose": 2})
    damage(tmp_path / "s.mscan")
    more = ["--out", tmp_path / "out"] if command == "image" else []
    code, out, err = run(command, tmp_path / "s.mscan", *more)
    assert code == 1 and message in err and len(err.strip().splitlines()) == 1 and not out
    assert not (tmp_path / "out").exists()


def test_a_cut_scan_is_read_up_to_its_last_block_when_asked(run, tmp_path):
    scan_file(tmp_path / "s.mscan", {"code": 3, "prose": 2})
    cut(tmp_path / "s.mscan")
    code, out, _ = run("replay", tmp_path / "s.mscan", "--play", "--partial")
    assert code == 0 and "token 2, 'c2'" in out and "token 3" not in out


def test_a_scan_of_another_model_is_refused(run, models, tmp_path):
    scan_file(tmp_path / "s.mscan", {"code": 2})
    code, _, err = run("replay", tmp_path / "s.mscan", "--model", models / "seed")
    assert code == 1 and "scan of another model" in err and model().digest in err


def test_a_token_that_is_not_there_is_named(run, tmp_path):
    scan_file(tmp_path / "s.mscan", {"code": 2})
    code, _, err = run("replay", tmp_path / "s.mscan", "--token", 7)
    assert code == 1 and "no token 7" in err


def test_image_draws_differences_of_text_sets_and_of_models(run, tmp_path):
    scan_file(tmp_path / "a.mscan", {"code": 3, "prose": 2})
    scan_file(tmp_path / "b.mscan", {"code": 3, "prose": 2}, seed=1)
    line = [
        "image",
        tmp_path / "a.mscan",
        "--source",
        "code",
        "--minus-source",
        "prose",
        "--out",
        tmp_path / "d",
    ]
    code, out, _ = run(*line)
    assert code == 0 and "mean over 3 tokens of code minus mean over 2 tokens of prose" in out
    assert set(verify_folder(tmp_path / "d")["files"]) == {
        "layer-norm.png",
        "global-norm.png",
        "neuroimage.html",
    }
    code, out, _ = run(
        "image", tmp_path / "a.mscan", "--minus", tmp_path / "b.mscan", "--out", tmp_path / "e"
    )
    assert code == 0 and "minus small, mean over 5 tokens" in out


def test_scans_of_other_texts_are_not_subtracted(run, tmp_path):
    scan_file(tmp_path / "a.mscan", {"code": 3})
    scan_file(tmp_path / "b.mscan", {"code": 2})
    code, _, err = run(
        "image", tmp_path / "a.mscan", "--minus", tmp_path / "b.mscan", "--out", tmp_path / "d"
    )
    assert code == 1 and "scans of other texts" in err and not (tmp_path / "d").exists()


def test_an_earlier_scan_in_the_same_folder_is_replaced(run, tmp_path):
    scan_file(tmp_path / "a.mscan", {"code": 3})
    write_folder(
        tmp_path / "d", lambda folder: (folder / "old.png").write_bytes(b"x") and {"scan": "old"}
    )
    assert run("image", tmp_path / "a.mscan", "--out", tmp_path / "d")[0] == 0
    assert not (tmp_path / "d" / "old.png").exists()


def test_keys_step_through_the_tokens_and_change_the_norm(monkeypatch, tmp_path):
    shown, keys = [], iter(["\r", "\x1b[C", "n", "g", "p", "x", "q"])
    monkeypatch.setattr(
        commands, "_screen", lambda _, picture, tokens, token: shown.append((token, picture.scope))
    )
    monkeypatch.setattr(commands.click, "getchar", lambda: next(keys))
    scan = scan_file(tmp_path / "s.mscan", {"code": 3})
    commands._step(MagicMock(), None, scan, 0, False, "layer")
    layer, model = "layer", "model"
    assert shown == [
        (0, layer),
        (1, layer),
        (2, layer),
        (0, layer),
        (0, model),
        (2, model),
        (2, model),
    ]
