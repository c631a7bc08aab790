"""Chat lines of a .jsonl file as a chat template takes them: OpenAI's form and ShareGPT's, every turn with words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import TemplateError

Chat = Callable[[list[dict]], str]
KEYS = ("messages", "conversations")
ROLES = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "human": "user",
    "gpt": "assistant",
}


def templated(turns: Any, chat: Chat) -> str:
    """A conversation through the template ``chat``.

    A turn is ``{role, content}`` or ``{from, value}``; its words a string, or a list of ``{type: text, text}``.
    Raises ValueError where a turn is of another form, where one says nothing, and where the template refuses the
    conversation or leaves out what somebody says.
    """
    if not isinstance(turns, list):
        raise ValueError(f"a conversation is a list of turns, not {turns!r:.80}")
    messages = [message for turn in turns if (message := _message(turn))]
    if not any(message["role"] != "system" for message in messages):
        raise ValueError("nobody says anything in it")
    try:
        text = chat(messages)
    except (TemplateError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"the chat template refuses it: {error}") from error
    for message in messages:
        said = message["content"].rpartition("</think>")[2].strip()  # templates leave earlier thoughts out
        if message["role"] != "system" and said not in text:
            raise ValueError(f"the chat template leaves out what the {message['role']} says ({said[:40]!r})")
    return text


def _message(turn: Any) -> dict[str, str] | None:
    """``{role, content}`` of a turn; None for a system message that says nothing."""
    if not isinstance(turn, dict):
        raise ValueError(f"a turn is an object, not {turn!r:.80}")
    who, words = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    role = ROLES.get(str(who).lower())
    if role is None:
        raise ValueError(f"a turn is by {who!r}: give {', '.join(ROLES)} as its role (or from)")
    if isinstance(words, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in words):
        words = "".join(str(part.get("text", "")) for part in words)
    if words is not None and not isinstance(words, str):
        raise ValueError(f"the {role}'s content is no text: {words!r:.80}")
    if words and words.strip():
        return {"role": role, "content": words}
    if role == "system":
        return None
    raise ValueError(f"the {role} says nothing: a turn has its words as content (or value)")
