"""Segmentation of cerebral microbleeds on T1w / T2w / T2*-weighted MRI: a BIDS App, and :func:`segment` for Python."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mbseg_bids.segmentation import Segmentation, segment

__version__ = "0.1.0"
__all__ = ["Segmentation", "__version__", "segment"]


def __getattr__(name: str) -> Any:
    """Import the Python interface when it is first asked for: the command line does without."""
    if name in ("Segmentation", "segment"):
        import mbseg_bids.segmentation

        return getattr(mbseg_bids.segmentation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
