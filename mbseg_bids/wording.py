"""Words for people: nouns that agree with their number, and names of the code as they are read."""

_CAPITALS = {"gm": "GM", "wm": "WM", "csf": "CSF", "t2star": "T2*", "t2starw": "T2*", "t1w": "T1w", "t2w": "T2w"}


def counted(number: int, noun: str) -> str:
    """Return a number and its noun: ``1 session``, ``2 sessions``. The plural ends in s."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def readable(name: str) -> str:
    """Return a dotted name in words: ``detection.ratio_threshold_deep_gm`` is detection, ratio threshold deep GM."""
    plain = name.replace(".", ", ").replace("_", " ")
    return " ".join(_CAPITALS.get(word.lower(), word) for word in plain.split(" "))
