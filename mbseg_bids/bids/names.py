"""Names of images: which are T2*-weighted, which are never used, and what a misnamed one may be."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

MAGNITUDE_SUFFIXES = ("T2starw", "MEGRE", "GRE", "T2star")
"""Names of a T2* magnitude, best first, which the network knows best. Only the first has a place in the standard for
single echoes; ``GRE`` is the magnitude of the proposed ``swi/`` folder, ``T2star`` an old spelling."""

WEIGHTED_SUFFIXES = ("swi", "SWI")
"""Names of a susceptibility-weighted image, darkened by its phase; no standard has one yet."""

T2STAR_SUFFIXES = (*MAGNITUDE_SUFFIXES, *WEIGHTED_SUFFIXES)

T1W_SUFFIXES = ("T1w", "UNIT1")
"""``UNIT1`` is the uniform image of an MP2RAGE, T1-weighted, with noise instead of a background."""

NOT_T2W = re.compile(r"hemo|swi|gre|t2s|flair", re.IGNORECASE)
"""``acq-`` labels by which a T2*-weighted (or FLAIR) image has been called T2w."""

_OTHER_PARTS = ("phase", "real", "imag")
_PROJECTION = re.compile(r"_(acq|rec|desc|proc)-[a-z0-9]*(mip|minip)|_(mip|minip)\.", re.IGNORECASE)
_ONE_COIL = re.compile(r"_coil-\d+", re.IGNORECASE)
_DENOISED = re.compile(r"_(acq|rec|desc|proc)-[a-z0-9]*(denois|clean)", re.IGNORECASE)
_LIKE_T2STAR = re.compile(r"t2_?star|t2s|hemo|swi|swan|gre|flash|medic", re.IGNORECASE)
_OTHER_SUFFIX = re.compile(r"map$|^(T1w|UNIT1|MP2RAGE|FLAIR|PDw|angio|bold|dwi)$")


def is_part(name: str, entities: Mapping[str, Any]) -> bool:
    """Tell whether an image is no magnitude of single slices: phase, a projection, or what one coil has seen."""
    if entities.get("part") in _OTHER_PARTS:
        return True
    return bool(_PROJECTION.search(name) or _ONE_COIL.search(name))


def is_denoised(name: str) -> bool:
    """Tell whether a ``rec-`` label (or one like it) says that the noise has been taken out."""
    return bool(_DENOISED.search(name))


def is_enhanced(name: str) -> bool:
    """Tell whether an image was made with a contrast agent."""
    return "_ce-" in name


def is_susceptibility_weighted(name: str) -> bool:
    """Tell whether an image is susceptibility-weighted by its suffix."""
    return suffix_of(name) in WEIGHTED_SUFFIXES


def suffix_of(name: str) -> str:
    """Return the last part of a file name, without extension: ``T1w``."""
    return name.split(".")[0].rsplit("_", 1)[-1]


def likely_t2star(images: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Say which image may be T2*-weighted under another name, and the filter that takes it; empty if none may be.

    Parameters
    ----------
    images
        File name and entities of each image of a session.
    """
    single_coils = ""
    for name, entities in sorted(images, key=lambda image: image[0]):
        labels = re.sub(r"^sub-[^_]+_(ses-[^_]+_)?", "", name).split(".")[0]
        if not _LIKE_T2STAR.search(labels) or _OTHER_SUFFIX.search(suffix_of(name)):
            continue
        if entities.get("part") in _OTHER_PARTS:
            continue
        if _ONE_COIL.search(name):
            single_coils = single_coils or f"{name} is the image of one coil: combine the coils to one magnitude"
        elif not is_part(name, entities):
            wanted = {key: str(entities[key]) for key in ("acquisition", "reconstruction") if key in entities}
            filters = json.dumps({"t2starw": {"suffix": suffix_of(name)} | wanted})
            return f"{name} may be one: take it with a --bids-filter-file that says {filters}"
    return single_coils


def merge_echoes(sentences: Iterable[str]) -> list[str]:
    """Return each sentence once; those that differ only by the number of an echo become one about ``echo-*``."""
    kinds: dict[str, list[str]] = {}
    for sentence in dict.fromkeys(sentences):
        kinds.setdefault(re.sub(r"_echo-\d+", "_echo-*", sentence), []).append(sentence)
    return [kind if len(same) > 1 else same[0] for kind, same in kinds.items()]
