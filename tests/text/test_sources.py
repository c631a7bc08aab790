"""Documents come from built-in domains, folders and JSONL, and what is wrong with them is said by
name.
"""

import json

import pytest

from birdbone.errors import TextError
from birdbone.text.sources import BUILT_IN, Document, documents


def test_a_folders_files_are_documents_named_by_their_path(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.md").write_text("two")
    (tmp_path / "deep" / "a.txt").write_text("ünï")
    (tmp_path / "c.html").write_text("no")
    assert documents(str(tmp_path)) == [Document("b.md", "two"), Document("deep/a.txt", "ünï")]


def test_an_empty_folder_and_an_unknown_name_are_errors(tmp_path):
    with pytest.raises(TextError, match="holds no text"):
        documents(str(tmp_path))
    with pytest.raises(TextError, match="'wikipedai'.*wikipedia, news, reference, code.*jsonl"):
        documents("wikipedai")
    with pytest.raises(TextError, match=r"nowhere\.jsonl"):
        documents(str(tmp_path / "nowhere.jsonl"))


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TextError, match=r"a\.txt is not UTF-8"):
        documents(str(tmp_path))


def jsonl(tmp_path, *lines: str) -> str:
    path = tmp_path / "talk.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_jsonl_lines_are_documents(tmp_path):
    path = jsonl(tmp_path, '{"text": "one", "title": "first"}', "", '{"text": "two"}')
    assert documents(path) == [Document("first", "one"), Document("line 3", "two")]


def test_a_line_separator_inside_a_string_does_not_split_it(tmp_path):
    path = jsonl(
        tmp_path,
        json.dumps({"text": "one\u2028two\x85three"}, ensure_ascii=False),
        '{"text": "four"}',
    )
    assert [d.text for d in documents(path)] == ["one\u2028two\x85three", "four"]


@pytest.mark.parametrize(
    "bad", ["{", '"text"', "[1]", '{"txt": "x"}', '{"text": 3}', '{"text": null}', "7"]
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path, bad):
    with pytest.raises(TextError, match=r"talk\.jsonl, line 2: "):
        documents(jsonl(tmp_path, '{"text": "good"}', bad))


MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def chat(messages: list[dict]) -> str:
    return "|".join(f"{m['role']}: {m['content']}" for m in messages)


def test_messages_go_through_the_chat_template(tmp_path):
    path = jsonl(tmp_path, json.dumps({"messages": MESSAGES}), '{"text": "plain"}')
    assert [d.text for d in documents(path, chat)] == ["user: hi|assistant: hello", "plain"]


def test_messages_without_a_template_name_the_setting(tmp_path):
    with pytest.raises(TextError, match=r"line 1: .*set text\.chat"):
        documents(jsonl(tmp_path, json.dumps({"messages": MESSAGES})))


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "talk.jsonl").write_bytes(b'{"text": "one"}\n{"text": "\xff"}\n')
    with pytest.raises(TextError, match=r"talk\.jsonl, line 2: "):
        documents(str(tmp_path / "talk.jsonl"))


@pytest.mark.parametrize(
    "bad", ['{"messages": [{"role": "user"}]}', '{"messages": 3}', '{"other": 1}']
)
def test_bad_messages_are_named_by_line(tmp_path, bad):
    with pytest.raises(TextError, match=r'line 1: .*"text" or "messages"'):
        documents(jsonl(tmp_path, bad), chat)


def test_sharegpts_form_is_read_too(tmp_path):
    talk = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
    path = jsonl(tmp_path, json.dumps({"conversations": talk}))
    assert [d.text for d in documents(path, chat)] == ["user: hi|assistant: hello"]


def test_a_template_that_refuses_a_conversation_names_its_line(tmp_path):
    from jinja2.exceptions import TemplateError

    def refuse(_messages):
        raise TemplateError("roles must alternate")

    with pytest.raises(TextError, match="line 1.*roles must alternate"):
        documents(jsonl(tmp_path, json.dumps({"messages": MESSAGES})), refuse)


@pytest.mark.parametrize(
    ("name", "count"), [("wikipedia", 50), ("news", 300), ("reference", 50), ("code", 20)]
)
def test_built_in_domains_hold_documents_with_titles_of_their_own(name, count):
    if name in ("wikipedia", "news"):
        pytest.importorskip("gensim")
    found = documents(name)
    assert len(found) >= count and len({d.title for d in found}) == len(found)
    assert all(d.text.strip() for d in found)


def test_the_table_in_the_module_names_every_domain():
    from birdbone.text import sources

    assert all(f"| {name} |" in sources.__doc__ for name in BUILT_IN)


def test_a_hub_data_set_gives_its_text_column(tmp_path):
    pytest.importorskip("datasets")
    (tmp_path / "train.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    assert [d.text for d in documents(f"hf:{tmp_path}")] == ["one", "two"]


def test_a_hub_data_set_without_text_or_split_is_said(tmp_path):
    pytest.importorskip("datasets")
    (tmp_path / "train.jsonl").write_text('{"words": "one"}\n')
    with pytest.raises(TextError, match="no column 'text'"):
        documents(f"hf:{tmp_path}")
    with pytest.raises(TextError, match="not found, or the hub did not give it"):
        documents(f"hf:{tmp_path}@holdout")


def test_every_worksheet_is_a_document_with_its_own_title():
    found = documents("arithmetic")
    assert len({d.title for d in found}) == len(found) == 96
