"""Odd folders and files are read rightly, or refused by name."""

import json
import os

import pytest

from birdbone.errors import TextError
from birdbone.text.sources import Document, documents
from birdbone.text.splits import share_of


def lay_out(folder, **texts: str):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def titles(folder) -> list[str]:
    return [d.title for d in documents(str(folder))]


def test_linked_folders_and_files_are_read_and_loops_are_cut(tmp_path):
    elsewhere = lay_out(tmp_path / "elsewhere", far="far", near="near")
    folder = lay_out(tmp_path / "texts", own="own")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "again").symlink_to(folder)
    (elsewhere / "back").symlink_to(folder)
    (tmp_path / "one.md").write_text("one")
    (folder / "one.md").symlink_to(tmp_path / "one.md")
    assert titles(folder) == ["linked/far.txt", "linked/near.txt", "one.md", "own.txt"]


def test_a_folder_reached_twice_is_read_once_by_its_own_path(tmp_path):
    folder = lay_out(tmp_path / "texts", own="own")
    lay_out(folder / "z", deep="deep")
    (folder / "a").symlink_to(folder / "z")
    assert titles(folder) == ["own.txt", "z/deep.txt"]


def test_names_in_capitals_hidden_ones_and_folders_called_like_texts(tmp_path):
    folder = lay_out(tmp_path / "my [old] textés")
    for name in (
        "A.TXT",
        "B.Md",
        "notes.md/in.txt",
        ".git/no.txt",
        ".ipynb_checkpoints/no.md",
        "._A.txt",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    assert titles(folder) == ["A.TXT", "B.Md", "notes.md/in.txt"]


def test_a_name_that_is_not_utf8_has_its_place_in_a_split(tmp_path):
    (tmp_path / os.fsdecode(b"gr\xf6\xdfe.txt")).write_text("one")
    (found,) = documents(str(tmp_path))
    assert 0 <= share_of(found.title, 0) < 1


def test_a_folder_called_like_a_home_is_a_folder(tmp_path, monkeypatch):
    lay_out(tmp_path / "~old texts", a="one")
    monkeypatch.chdir(tmp_path)
    assert documents("~old texts") == [Document("a.txt", "one")]


def test_a_link_that_leads_nowhere_is_passed_over_and_said(tmp_path, caplog):
    folder = lay_out(tmp_path / "texts", own="own")
    (folder / "lost.txt").symlink_to(tmp_path / "gone.txt")
    (folder / "lost").symlink_to(tmp_path / "gone")
    (folder / "self.txt").symlink_to(folder / "self.txt")
    assert titles(folder) == ["own.txt"]
    assert all(f"{name} is passed over" in caplog.text for name in ("lost.txt", "lost", "self.txt"))


def test_marks_and_line_ends_of_other_systems_are_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert documents(str(tmp_path)) == [Document("a.txt", "one\ntwo\nthree\n")]
    (tmp_path / "b.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "one"}\r\n{"text": "two"}')
    assert [d.text for d in documents(str(tmp_path / "b.jsonl"))] == ["one", "two"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_other_encodings_are_named(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("größe".encode(encoding))
    with pytest.raises(TextError, match=r"a\.txt is not UTF-8 text"):
        documents(str(tmp_path))
    (tmp_path / "b.JSONL").write_bytes(
        json.dumps({"text": "größe"}, ensure_ascii=False).encode(encoding)
    )
    with pytest.raises(TextError, match=r"b\.JSONL(, line 1:| is not UTF-8)"):
        documents(str(tmp_path / "b.JSONL"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "a.txt").chmod(0)
    with pytest.raises(TextError, match=r"a\.txt cannot be read: Permission denied"):
        documents(str(tmp_path))


def test_blank_documents_are_left_out(tmp_path):
    lay_out(tmp_path, a="one", b="", c=" \n\t\n")
    assert titles(tmp_path) == ["a.txt"]
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(TextError, match="holds no text"):
        documents(str(tmp_path))


def test_of_copies_the_first_is_taken_so_that_none_stands_on_either_side_of_a_split(tmp_path):
    lay_out(tmp_path, a="one", b="two", c="one")
    assert documents(str(tmp_path)) == [Document("a.txt", "one"), Document("b.txt", "two")]


def lines(tmp_path, *records: dict) -> str:
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(tmp_path / "t.jsonl")


@pytest.mark.parametrize("title", [None, "", " ", "chat", 7])
def test_a_title_that_all_lines_share_or_lack_makes_no_one_document_of_them(tmp_path, title):
    path = lines(tmp_path, *({"title": title, "text": f"text {i}"} for i in range(60)))
    assert len(set(titles(path))) == 60


@pytest.mark.parametrize(
    "title", [lambda i: "ab"[i % 2], lambda i: "chat" if i % 2 else None, lambda i: f"{i % 7}"]
)
def test_a_title_of_many_lines_names_no_document(tmp_path, title):
    path = lines(tmp_path, *({"title": title(i), "text": f"text {i}"} for i in range(60)))
    assert len(set(titles(path))) == 60


def test_the_lines_of_one_title_stay_together_where_titles_name_documents(tmp_path):
    path = lines(
        tmp_path, *({"title": f"article {i // 3}", "text": f"text {i}"} for i in range(60))
    )
    assert titles(path)[:4] == ["article 0", "article 0", "article 0", "article 1"]


def test_half_a_surrogate_pair_is_refused_by_its_line(tmp_path):
    with pytest.raises(TextError, match=r"t\.jsonl, line 2: .*surrogates"):
        documents(lines(tmp_path, {"text": "good"}, {"text": "\ud800"}))
