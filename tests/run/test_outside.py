"""What lies outside the catalog counts by its content, and DVC can see it."""

import json
import os

import pytest

from birdbone.run import outside
from birdbone.run.outside import digests, inside, reads, refresh, things


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a model, texts, canaries and a benchmark file; this process is in it."""
    monkeypatch.chdir(tmp_path)
    for name, content in {
        "m/config.json": "{}",
        "m/model.safetensors": "weights",
        "m/pytorch_model.bin": "a pickle, never read",
        "m/notes/old.safetensors": "of another model",
        "texts/a.txt": "one",
        "texts/sub/b.TXT": "two",
        "canaries.yml": "a: []",
        "arc.jsonl": "{}",
        "tokens.txt": "a",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


TREE = {
    "model": "m",
    "models": {"r": {"random": {}}},
    "text": {
        "source": "texts",
        "guard_domains": ["news", "arithmetic"],
        "elsewhere": ["texts"],
        "canaries": "canaries.yml",
    },
    "vocabulary": {"keep": "tokens.txt"},
    "evaluate": {
        "files": {"arc": {"form": "arc", "test": "arc.jsonl", "examples": None}},
        "models": ["m", "r"],
    },
    "domains": {"sets": {"talk": "seed_chat", "mine": "texts"}},
}


def sha(place, key):
    return digests(things(TREE), place / "cache.json")[key]["sha256"]


def test_each_parameter_that_names_files_is_one_thing_with_the_files_that_are_read(place):
    found = things(TREE)
    assert set(found) == {
        "model",
        "text.source",
        "text.guard_domains.news",
        "text.elsewhere.texts",
        "text.canaries",
        "vocabulary.keep",
        "evaluate.files.arc.test",
        "evaluate.models.m",
        "domains.sets.mine",
    }
    assert [name for name, _ in found["model"].files] == ["config.json", "model.safetensors"]
    assert [name for name, _ in found["text.source"].files] == ["a.txt", "sub/b.TXT"]


def test_a_model_with_an_adapter_names_both(place):
    (place / "lora").mkdir()
    (place / "lora/adapter_config.json").write_text("{}")
    found = things({"model": {"name": "m", "adapter": "lora"}, "models": {}})
    assert [found[key].name for key in ("model", "model.adapter")] == ["m", "lora"]
    assert found["model.adapter"].files[0][0] == "adapter_config.json"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("model", "m/model.safetensors"),
        ("text.source", "texts/sub/b.TXT"),
        ("text.canaries", "canaries.yml"),
        ("text.elsewhere.texts", "texts/a.txt"),
        ("vocabulary.keep", "tokens.txt"),
        ("evaluate.files.arc.test", "arc.jsonl"),
        ("domains.sets.mine", "texts/a.txt"),
    ],
)
def test_other_bytes_of_the_same_size_and_time_are_seen(place, monkeypatch, key, name):
    monkeypatch.setattr(outside, "SETTLED", -1)
    before, about = sha(place, key), (place / name).stat()
    (place / name).write_text("x" * about.st_size)
    os.utime(place / name, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert sha(place, key) != before


def test_what_did_not_change_is_not_read_again(place, monkeypatch):
    monkeypatch.setattr(outside, "SETTLED", -1)
    before = digests(things(TREE), place / "cache.json")
    monkeypatch.setattr(
        outside, "file_digest", lambda path: pytest.fail(f"{path} was hashed again")
    )
    assert digests(things(TREE), place / "cache.json") == before


def test_a_file_that_changed_a_moment_ago_is_not_trusted_to_be_the_same(place):
    sha(place, "text.canaries")
    assert str(place / "canaries.yml") not in (place / "cache.json").read_text()


def test_a_renamed_or_added_text_counts_and_a_damaged_cache_does_not_matter(place):
    before = sha(place, "text.source")
    (place / "cache.json").write_text("{")
    assert sha(place, "text.source") == before
    (place / "texts/a.txt").rename(place / "texts/c.txt")
    assert sha(place, "text.source") != before


def test_linked_folders_are_followed_once_and_broken_links_left_out(place):
    (place / "elsewhere").mkdir()
    (place / "elsewhere/c.md").write_text("three")
    (place / "texts/linked").symlink_to(place / "elsewhere")
    (place / "texts/loop").symlink_to(place / "texts")
    (place / "texts/gone.txt").symlink_to(place / "nowhere")
    assert [name for name, _ in things(TREE)["text.source"].files] == [
        "a.txt",
        "linked/c.md",
        "sub/b.TXT",
    ]


def test_sources_json_is_written_when_something_changed_and_only_then(place):
    assert refresh(place, TREE, "data")
    written = (place / "data/sources.json").stat().st_mtime_ns
    assert not refresh(place, TREE, "data")
    assert (place / "data/sources.json").stat().st_mtime_ns == written
    (place / "canaries.yml").write_text("b: []")
    assert refresh(place, TREE, "data")
    found = json.loads((place / "data/sources.json").read_text())
    assert found["text.canaries"]["name"] == "canaries.yml" and found["text.canaries"]["bytes"] == 5
    assert found["text.guard_domains.news"]["sha256"]


def test_what_a_package_brings_is_told_without_a_path_of_this_machine(place):
    refresh(
        place, {"text": {"source": "wikipedia", "guard_domains": ["code", "reference"]}}, "data"
    )
    assert str(os.path.sep) not in (place / "data/sources.json").read_text()


def test_what_is_missing_has_no_digest_and_no_error(place):
    tree = {
        "model": "nowhere/at/all",
        "models": {},
        "text": {"source": "gone", "canaries": "gone.yml"},
    }
    assert {row["sha256"] for row in digests(things(tree), place / "cache.json").values()} == {None}


def test_only_what_lies_in_the_project_is_a_dependency_itself(place, tmp_path_factory):
    away = tmp_path_factory.mktemp("away")
    (away / "t.txt").write_text("text")
    (place / "link").symlink_to(away)
    tree = {"text": {"source": "texts", "guard_domains": [str(away), "link", "news"]}}
    assert [inside(place, thing) for thing in things(tree).values()] == ["texts", None, None, None]


def test_a_node_reads_what_its_parameters_hold_or_lie_in():
    assert (
        reads(["text"], "text.source")
        and reads(["text.source"], "text.source")
        and reads(["model.name"], "model")
    )
    assert (
        not reads(["text.source"], "text.canaries")
        and not reads(["models"], "model")
        and not reads([], "model")
    )
