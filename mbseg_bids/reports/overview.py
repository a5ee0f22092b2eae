"""What the first screen says of a session's scan and of how it was computed. Pure: mappings in, texts out."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from mbseg_bids.data import WEIGHTS_MANIFEST
from mbseg_bids.reports.facts import contrast, mapping, texts
from mbseg_bids.reports.session_files import number

NOT_RECORDED = "not recorded"


def overview(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (term, words): the scan that was searched, and date, preset and weights of the computation."""
    settings = mapping(mapping(summary.get("settings")).get("anatomy"))
    software = mapping(summary.get("software"))
    version = software.get("mbseg-bids") or software.get("mbseg_bids")
    return [
        ("T2* scan", scan_sentence(summary)),
        ("Computed", f"{_date(summary)}{f', mbseg-bids {version}' if version else ''}"),
        ("Registration preset", str(settings.get("registration") or NOT_RECORDED)),
        ("Network weights", weights_sentence(summary)),
    ]


def scan_sentence(summary: Mapping[str, Any]) -> str:
    """Return scanner, field strength, echo time in ms and voxel size of T2*, as far as they are known."""
    found = contrast(summary, "T2starw")
    metadata = mapping(found.get("metadata"))
    scanner = [str(metadata[key]) for key in ("Manufacturer", "ManufacturersModelName") if metadata.get(key)]
    parts = [" ".join(scanner) or "scanner not recorded"]
    field, echo = number(metadata.get("MagneticFieldStrength")), number(metadata.get("EchoTime"))
    parts.append("field strength not recorded" if field is None else f"{field:.3g} T")
    parts.append("TE not recorded" if echo is None else f"TE {1000 * echo:.3g} ms")
    spacing = [number(mm) for mm in found["spacing"]] if isinstance(found.get("spacing"), list) else []
    known = [mm for mm in spacing if mm is not None]
    parts.append(
        f"voxels {' × '.join(f'{mm:.3g}' for mm in known)} mm" if len(known) == 3 else "voxel size not recorded"
    )
    return ", ".join(parts)


def weights_sentence(summary: Mapping[str, Any]) -> str:
    """Return the name of the weights, and whether they are the shipped ones, made from simulated microbleeds."""
    weights = mapping(summary.get("detection")).get("weights")
    name = mapping(weights).get("name") if isinstance(weights, Mapping) else weights
    if not name:
        return NOT_RECORDED
    if mapping(weights).get("sha256") in _shipped():
        return f"{name}: learned from simulated microbleeds only, so its accuracy on your scanner is not known"
    return f"{name}: not the shipped ones; what they learned from is not known here"


@cache
def _shipped() -> frozenset[str]:
    manifest = json.loads(WEIGHTS_MANIFEST.read_text(encoding="utf-8"))
    return frozenset(entry["sha256"] for entry in manifest["weights"].values())


def _date(summary: Mapping[str, Any]) -> str:
    said = texts(summary.get("finished"))
    return said[0][:10] if said else "date not recorded"
