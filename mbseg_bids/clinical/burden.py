"""Burden classes of a microbleed count.

The classes are those used in clinical reports and trials: 0, 1, 2 to 4, 5 to 10, more than 10. Two cut-offs are
reported as flags of their own: at least 5 (studies of anticoagulation) and more than 10 (thrombolysis guidance).
"""

BURDEN_CLASSES: tuple[str, ...] = ("0", "1", "2 to 4", "5 to 10", "more than 10")
"""Names of the classes, in ascending order. Spreadsheets take 2-4 and 5-10 for dates."""

_LARGEST_COUNT = (0, 1, 4, 10)


def burden_class(count: int) -> str:
    """Return the burden class of a number of microbleeds.

    Raises
    ------
    ValueError
        If the count is negative.
    """
    if count < 0:
        raise ValueError(f"a count cannot be negative: {count}")
    for name, largest in zip(BURDEN_CLASSES, _LARGEST_COUNT, strict=False):
        if count <= largest:
            return name
    return BURDEN_CLASSES[-1]


def at_least_five(count: int) -> bool:
    """Return whether there are five microbleeds or more (cut-off of anticoagulation studies)."""
    return count >= 5


def more_than_ten(count: int) -> bool:
    """Return whether there are more than ten microbleeds (cut-off of thrombolysis guidance)."""
    return count > 10
