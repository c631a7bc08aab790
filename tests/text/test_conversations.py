"""A chat line becomes text only where every turn has a speaker and words."""

import pytest
from jinja2.exceptions import TemplateError

from birdbone.text.conversations import templated

SAID = "system: be kind|user: hi|assistant: hello"


def chat(messages: list[dict]) -> str:
    return "|".join(f"{m['role']}: {m['content']}" for m in messages)


def turns(*said, who="role", words="content") -> list[dict]:
    return [{who: speaker, words: text} for speaker, text in said]


@pytest.mark.parametrize(
    "given",
    [
        turns(("system", "be kind"), ("user", "hi"), ("assistant", "hello")),
        turns(("system", "be kind"), ("human", "hi"), ("gpt", "hello"), who="from", words="value"),
        turns(("System", "be kind"), ("User", "hi"), ("Assistant", "hello")),
        turns(
            ("system", "be kind"),
            ("user", [{"type": "text", "text": "hi"}]),
            ("assistant", [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]),
        ),
    ],
)
def test_all_forms_come_to_the_same_text(given):
    assert templated(given, chat) == SAID


def test_a_system_message_that_says_nothing_is_none():
    given = turns(("system", ""), ("human", "hi"), ("gpt", "hello"), who="from", words="value")
    assert templated(given, chat) == "user: hi|assistant: hello"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "list of turns"),
        ({"role": "user"}, "list of turns"),
        ([], "nobody says anything"),
        (turns(("system", "be kind")), "nobody says anything"),
        (["hi"], "a turn is an object"),
        ([{"role": "user"}], "the user says nothing"),
        ([{"role": "user", "text": "hi"}], "the user says nothing"),
        (turns(("user", "hi"), ("assistant", None)), "the assistant says nothing"),
        (turns(("user", "hi"), ("assistant", " \n")), "the assistant says nothing"),
        (turns(("user", [])), "the user says nothing"),
        (turns(("user", [{"type": "image_url"}])), "the user's content is no text"),
        (turns(("user", 3)), "the user's content is no text"),
        (turns(("narrator", "hi")), "a turn is by 'narrator'"),
        ([{"content": "hi"}], "a turn is by None"),
    ],
)
def test_a_turn_of_another_form_or_without_words_is_refused(given, says):
    with pytest.raises(ValueError, match=says):
        templated(given, chat)


HI = turns(("user", "hi"), ("assistant", "hello"))


@pytest.mark.parametrize(
    "error", [TemplateError("roles must alternate"), TypeError("roles must alternate")]
)
def test_what_the_template_refuses_is_told(error):
    def refuse(_messages):
        raise error

    with pytest.raises(ValueError, match="the chat template refuses it: roles must alternate"):
        templated(HI, refuse)


def test_a_template_that_leaves_out_a_turn_is_told():
    with pytest.raises(ValueError, match="leaves out what the assistant says .'hello'"):
        templated(HI, lambda messages: f"user: {messages[0]['content']}|assistant: ")


def test_a_template_may_leave_out_thoughts_and_the_system_message():
    given = turns(
        ("system", "be kind"), ("user", "hi"), ("assistant", "<think>a greeting</think>\nhello")
    )
    assert templated(given, lambda messages: "user: hi|assistant: hello")
