import pytest

from mbseg_bids.wording import counted


@pytest.mark.parametrize(("number", "expected"), [(0, "0 sessions"), (1, "1 session"), (2, "2 sessions")])
def test_a_noun_agrees_with_its_number(number, expected):
    assert counted(number, "session") == expected
