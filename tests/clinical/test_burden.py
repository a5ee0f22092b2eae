import pytest

from mbseg_bids.clinical.burden import at_least_five, burden_class, more_than_ten


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0"),
        (1, "1"),
        (2, "2 to 4"),
        (4, "2 to 4"),
        (5, "5 to 10"),
        (10, "5 to 10"),
        (11, "more than 10"),
        (250, "more than 10"),
    ],
)
def test_class_changes_exactly_at_the_defined_counts(count, expected):
    assert burden_class(count) == expected


def test_negative_count_is_refused():
    with pytest.raises(ValueError, match="negative"):
        burden_class(-1)


def test_cut_offs():
    assert [at_least_five(n) for n in (4, 5, 10)] == [False, True, True]
    assert [more_than_ten(n) for n in (5, 10, 11)] == [False, False, True]


def test_no_class_can_be_taken_for_a_date_or_a_formula():
    from mbseg_bids.clinical.burden import BURDEN_CLASSES

    assert all(name.isdigit() or not set(name) & set("-/.=<>+") for name in BURDEN_CLASSES)
