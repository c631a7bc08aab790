"""How figures are written."""

import pytest

from birdbone.report import numbers


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (numbers.size(98_362_432), "98.4 MB"),
        (numbers.size(999), "999 B"),
        (numbers.size(999_960), "1.0 MB"),
        (numbers.size(None), "–"),
        (numbers.amount(1536), "1536"),
        (numbers.amount(134_515_008), "134.5 M"),
        (numbers.change(-0.0123), "−1.2 %"),
        (numbers.change(0.00001), "0.0 %"),
        (numbers.change(-0.00001), "0.0 %"),
        (numbers.change([0.021, 0.014, 0.029]), "+2.1 % [+1.4, +2.9]"),
        (numbers.share(0.934), "93.4 %"),
        (numbers.nats(0.0412), "0.0412"),
        (numbers.nats(3.1e-8), "3.1e−08"),
        (numbers.nats(0.0), "0"),
        (numbers.duration(4.21), "4.2 s"),
        (numbers.duration(59.6), "1 min 00 s"),
        (numbers.duration(3599.7), "1 h 00 min"),
        (numbers.duration(7500), "2 h 05 min"),
        (numbers.points(0.1), "+10"),
        (numbers.points(-0.2), "−20"),
        (numbers.exact(45152), "45,152"),
        (numbers.times(98.4, 84.1), "1.17×"),
        (numbers.interval([0.02, 0.01, 0.03], numbers.change), "+1.0 to +3.0"),
        (numbers.interval(0.02, numbers.change), None),
    ],
)
def test_numbers_are_written_as_people_read_them(written, expected):
    assert (written and written.replace("\u202f", " ")) == expected
