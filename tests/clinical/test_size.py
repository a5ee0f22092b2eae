import math

import pytest

from mbseg_bids.clinical.size import MAXIMUM_DIAMETER, MINIMUM_DIAMETER, equal_sphere_diameter, size_class


def test_equal_sphere_diameter_of_the_clinical_limits():
    """Spheres of 2 and 10 mm: 4 pi / 3 and 500 pi / 3 mm3."""
    assert equal_sphere_diameter(4 * math.pi / 3) == pytest.approx(MINIMUM_DIAMETER)
    assert equal_sphere_diameter(500 * math.pi / 3) == pytest.approx(MAXIMUM_DIAMETER)
    assert equal_sphere_diameter(0.0) == 0.0


@pytest.mark.parametrize(
    ("volume", "expected"),
    [(1, "small"), (4, "small"), (4.49, "small"), (5, "medium"), (15, "medium"), (15.49, "medium"), (16, "large")],
)
def test_size_classes_of_the_paper(volume, expected):
    assert size_class(volume) == expected
