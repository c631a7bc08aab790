"""Conversations of a .jsonl file through a chat template: OpenAI's form and ShareGPT's."""

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

    A turn is ``{role, content}`` or ``{from, value}``. Its content is a string or a list of
    ``{type: text, text}``. Raises ValueError where a turn has another form or is empty, and where
    the template refuses the conversation or leaves out a turn.
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
        answer = message["content"].rpartition("</think>")[2].strip()  # templates drop thoughts
        if message["role"] != "system" and answer not in text:
            role = message["role"]
            raise ValueError(f"the chat template leaves out what the {role} says ({answer[:40]!r})")
    return text


def _message(turn: Any) -> dict[str, str] | None:
    """``{role, content}`` of a turn; None for a system message that says nothing."""
    if not isinstance(turn, dict):
        raise ValueError(f"a turn is an object, not {turn!r:.80}")
    speaker = turn.get("role", turn.get("from"))
    content = turn.get("content", turn.get("value"))
    role = ROLES.get(str(speaker).lower())
    if role is None:
        raise ValueError(f"a turn is by {speaker!r}: give {', '.join(ROLES)} as its role (or from)")
    if isinstance(content, list) and all(
        isinstance(part, dict) and part.get("type") == "text" for part in content
    ):
        content = "".join(str(part.get("text", "")) for part in content)
    if content is not None and not isinstance(content, str):
        raise ValueError(f"the {role}'s content is no text: {content!r:.80}")
    if content and content.strip():
        return {"role": role, "content": content}
    if role == "system":
        return None
    raise ValueError(f"the {role} says nothing: a turn has its words as content (or value)")
