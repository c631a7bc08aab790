"""What a person says to a model that writes a dialogue, through the model's template or plainly."""

from birdbone.text.dialogue import openings, shared_start, turns
from birdbone.text.tokenizer import END, train_tokenizer

TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<s>system\nBe kind" + END + "\n{% endif %}"
    "{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}" + END + "\n{% endfor %}"
)


def words(template=None):
    found = train_tokenizer(["how are you", "user assistant system"], 280)
    found.chat_template = template
    return found


def test_turns_are_what_the_template_puts_around_the_models_answers():
    tokenizer = words(TEMPLATE)
    first, second = (tokenizer.decode(ids) for ids in turns(tokenizer, [0], "Hello!", 0)[:2])
    assert first == f"<s>system\nBe kind{END}\n<s>user\nHello!{END}\n<s>assistant\n"
    assert second.startswith("\n<s>user\n") and second.endswith(f"{END}\n<s>assistant\n")


def test_without_a_template_the_speakers_are_named():
    tokenizer = words()
    first, second = (tokenizer.decode(ids) for ids in turns(tokenizer, [0], "Hello!", 0)[:2])
    assert first == "User: Hello!\nAssistant: " and second.startswith("\nUser: ")


def test_the_system_message_is_what_all_talks_begin_with():
    tokenizer = words(TEMPLATE)
    scripts = [turns(tokenizer, [0], line, 0) for line in ("Hello!", "What now?")]
    assert (
        tokenizer.decode(scripts[0][0][: shared_start(scripts)])
        == f"<s>system\nBe kind{END}\n<s>user\n"
    )


def test_scan_and_held_out_talks_open_differently_and_always_the_same():
    found = openings(0.5, {"scan": 30, "heldout": 30}, 0)
    assert len(found["scan"]) == 30 and not set(found["scan"]) & set(found["heldout"])
    assert (
        found
        == openings(0.5, {"scan": 30, "heldout": 30}, 0)
        != openings(0.5, {"scan": 30, "heldout": 30}, 1)
    )
