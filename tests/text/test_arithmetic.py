"""The worksheets' sums."""

from birdbone.text.arithmetic import worksheets


def test_every_sum_on_the_worksheets_is_right():
    checked = 0
    for _, text in worksheets():
        for line in text.splitlines():
            left, _, right = line.partition(" = ")
            if right.isdigit() and not set(left) - set("0123456789+-*/() "):
                assert eval(left) == int(right), line
                checked += 1
    assert checked > 1000
    assert list(worksheets()) == list(worksheets())
