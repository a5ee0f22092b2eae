"""The methods text: what was really done, with versions, ready to be put into a paper."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mbseg_bids.bids.files import write_text
from mbseg_bids.data import REFERENCES_BIB
from mbseg_bids.wording import counted

_REUSE_WORDS = {
    "aseg": "the anatomical segmentation (aseg)",
    "brain_mask": "the brain mask",
    "wmh_mask": "the white-matter-hyperintensity mask",
}

REFERENCES = (
    "Dadar M, Zhernovaia M, Mahmoud S, Camicioli R, Maranzano J, Duchesne S. Using transfer learning for automated "
    "microbleed segmentation. Frontiers in Neuroimaging 1:940849, 2022. doi:10.3389/fnimg.2022.940849",
    "Tustison NJ et al. N4ITK: improved N3 bias correction. IEEE Transactions on Medical Imaging 29:1310-1320, 2010. "
    "doi:10.1109/TMI.2010.2046908",
    "Yushkevich PA et al. Fast automatic segmentation of hippocampal subfields and medial temporal lobe subregions in "
    "3 Tesla and 7 Tesla T2-weighted MRI. Alzheimer's & Dementia 12:P126-P127, 2016. doi:10.1016/j.jalz.2016.06.205",
    "He K, Zhang X, Ren S, Sun J. Deep residual learning for image recognition. CVPR 2016. doi:10.1109/CVPR.2016.90",
    "Gorgolewski K et al. Nipype: a flexible, lightweight and extensible neuroimaging data processing framework in "
    "Python. Frontiers in Neuroinformatics 5:13, 2011. doi:10.3389/fninf.2011.00013",
    "Gorgolewski KJ et al. The brain imaging data structure, a format for organizing and describing outputs of "
    "neuroimaging experiments. Scientific Data 3:160044, 2016. doi:10.1038/sdata.2016.44",
)

CRITERIA_REFERENCES = (
    "Greenberg SM et al. Cerebral microbleeds: a guide to detection and interpretation. Lancet Neurology 8:165-174, "
    "2009. doi:10.1016/S1474-4422(09)70013-4",
    "Gregoire SM et al. The Microbleed Anatomical Rating Scale (MARS). Neurology 73:1759-1766, 2009. "
    "doi:10.1212/WNL.0b013e3181c34a7d",
    "Duering M et al. Neuroimaging standards for research into small vessel disease: advances since 2013. Lancet "
    "Neurology 22:602-618, 2023. doi:10.1016/S1474-4422(23)00131-X",
)


def write_boilerplate(output_dir: Path, planned: Sequence[Mapping[str, Any]]) -> Path:
    """Write ``logs/CITATION.md`` about all sessions in the output folder, and its references as ``CITATION.bib``.

    Parameters
    ----------
    output_dir
        Root of the derivatives; summaries of finished sessions are read from its ``logs/``.
    planned
        Facts of sessions of this run; used for those that have no summary yet.
    """
    facts = {(item["participant"], item["session"]): item for item in planned}
    for path in sorted((output_dir / "logs").glob("sub-*_summary.json")):
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
            facts[(summary["participant"], summary["session"])] = summary
        except (OSError, ValueError, KeyError, TypeError):
            continue
    write_text(output_dir / "logs" / "CITATION.bib", REFERENCES_BIB.read_text(encoding="utf-8"))
    return write_text(output_dir / "logs" / "CITATION.md", boilerplate(list(facts.values())))


def boilerplate(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Return the methods text for sessions described by their facts or summaries."""
    if not sessions:
        return "No session has been processed.\n"
    last = sessions[-1]
    versions, settings = last["software"], last["settings"]
    parts = [
        "# Methods",
        f"Cerebral microbleeds were segmented with mbseg-bids {versions['mbseg-bids']}, which follows Dadar et al. "
        f"(2022), on the {_contrasts(sessions)} images of {counted(len(sessions), 'session')}.",
        _inputs(sessions),
        _anatomy(sessions, versions, settings["anatomy"]),
        _detection(settings["detection"], versions, last.get("detection") or {}),
        _phase(sessions),
        _differences(sessions),
        "Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        "# References",
        "\n".join(f"{number}. {text}" for number, text in enumerate(_references(settings["detection"]), start=1)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _references(settings: Mapping[str, Any]) -> tuple[str, ...]:
    return REFERENCES + (CRITERIA_REFERENCES if settings.get("reader_criteria") else ())


def _inputs(sessions: Sequence[Mapping[str, Any]]) -> str:
    echoes = sum("mean of" in s["inputs"].get("T2starw", {}).get("reason", "") for s in sessions)
    borrowed = sum("this session has none" in s["inputs"].get("T1w", {}).get("reason", "") for s in sessions)
    texts = _missing(sessions)
    if echoes:
        texts.append(f"The T2*-weighted image was the mean of several echoes in {counted(echoes, 'session')}.")
    if borrowed:
        texts.append(f"The T1w came from another session of the participant in {counted(borrowed, 'session')}.")
    return " ".join(texts)


def _contrasts(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Return the contrasts that at least one session has, for a sentence."""
    some = _others(sessions)
    return f"{', '.join(some)} and T2*-weighted" if some else "T2*-weighted"


def _others(sessions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return T1w, T2w or both: those that at least one session has."""
    lacking = [set(session.get("missing_contrasts") or ()) for session in sessions]
    return [contrast for contrast in ("T1w", "T2w") if any(contrast not in missing for missing in lacking)]


def _registered(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Return what was registered to what, up to the name of the template."""
    others = _others(sessions)
    if not others:
        return "The T2*-weighted image was registered"
    anatomical = "T1w" if "T1w" in others else "T2w"
    was = "were" if len(others) > 1 else "was"
    return f"{' and '.join(others)} {was} registered rigidly to the T2*-weighted image, and the {anatomical}"


def _missing(sessions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return sentences on contrasts that sessions do not have, and what was done without them."""
    lacking = Counter(tuple(session.get("missing_contrasts") or ()) for session in sessions)
    texts = [
        f"{counted(n, 'session')} had no {' and no '.join(missing)}: the network saw the other contrasts only, with "
        "zeros in place of what was missing."
        for missing, n in sorted(lacking.items())
        if missing
    ]
    if any("T1w" in missing for missing in lacking):
        texts.append(
            "Without a T1w, the brain was outlined on the T2w, or else on the T2*-weighted image, which was "
            "registered to the template with its intensities inverted; cerebrospinal fluid was found by its signal, "
            "grey and white matter and all regions came from the atlas on the template."
        )
    return texts


def _anatomy(sessions: Sequence[Mapping[str, Any]], versions: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    text = (
        "Each image was corrected for intensity bias with N4 (Tustison 2010; "
        f"SimpleITK {versions.get('SimpleITK', 'n/a')}). {_registered(sessions)} to the ICBM152 template, affinely and "
        "deformably "
        f"({'2 mm' if settings['registration'] == 'coarse' else '1 mm'}), with Greedy (Yushkevich 2016; picsl-greedy "
        f"{versions.get('picsl-greedy', 'n/a')}). Each registration was checked by image similarity and brain overlap. "
        "Intensities were standardised linearly to 0-100 inside the brain mask."
    )
    counts = {role: sum(role in (s.get("reused") or {}) for s in sessions) for role in _REUSE_WORDS}
    reused = [f"{_REUSE_WORDS[role]} in {counted(n, 'session')}" for role, n in counts.items() if n]
    if reused:
        return f"{text} Existing results were reused: {', '.join(reused)}; all else was computed."
    return f"{text} Brain mask, tissues and regions were computed by mbseg-bids."


def _detection(settings: Mapping[str, Any], versions: Mapping[str, str], result: Mapping[str, Any]) -> str:
    weights = result.get("weights") or (result.get("search") or {}).get("weights") or {}
    name = weights.get("name", settings["weights"]) if isinstance(weights, Mapping) else settings["weights"]
    computed = (result.get("search") or {}).get("runtime") or f"torch {versions.get('torch', 'n/a')}"
    where = "every brain voxel" if settings["exhaustive"] else "every brain voxel that is locally dark on T2*"
    return (
        f"A ResNet-50 (He 2016; weights {Path(str(name)).name}; {computed}) classified "
        f"{where} from a patch of {settings['patch_size']} x {settings['patch_size']} mm in the slice plane. Voxels "
        f"with a microbleed probability of at least {settings['probability_threshold']:g} were joined into "
        "26-connected components, whose border voxels were removed until the mean T2* signal around the component was "
        f"at least {settings['ratio_threshold']:g} times (in deep grey matter {settings['ratio_threshold_deep_gm']:g} "
        f"times) that of each border voxel. {_criteria(settings)}{_second_look(settings)}Lesions with an equal-sphere "
        f"{_or_longest(settings)}diameter above {settings['maximum_diameter']:g} mm were not counted as microbleeds."
    )


def _criteria(settings: Mapping[str, Any]) -> str:
    """Say what a reader's criteria rejected; summaries of earlier versions have no such setting."""
    if not settings.get("reader_criteria"):
        return ""
    return (
        "What remained was rejected where it was less than half surrounded by parenchyma on T2* and the tissue map, "
        "had a core brighter than its surroundings on T2w or T1w, or lay on a dark line that went on at two opposite "
        "sides (after Greenberg 2009, Gregoire 2009 and Duering 2023; not part of the method of Dadar et al. 2022). "
    )


def _phase(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Say in how many sessions the phase told calcium from blood; nothing where no session has a phase."""
    have = [session for session in sessions if session.get("phase")]
    if not have:
        return ""
    used = sum(bool(((session.get("detection") or {}).get("phase") or {}).get("used")) for session in have)
    text = (
        f"A phase image was found in {counted(len(have), 'session')} and used in {used} of them: a dipole was fitted "
        "to the unwrapped phase about each candidate after removal of a polynomial background, its sign held against "
        "that of veins and iron in the same scan. "
    )
    criteria = any(session["settings"]["detection"].get("reader_criteria") for session in have)
    return text + (
        "What was surely diamagnetic was rejected as calcification; this step is not part of the method of Dadar et "
        "al. 2022."
        if criteria
        else "It decided nothing."
    )


def _or_longest(settings: Mapping[str, Any]) -> str:
    return "or longest " if settings.get("reader_criteria") else ""


def _second_look(settings: Mapping[str, Any]) -> str:
    """Say what judged the candidates after the ratio rule; summaries of earlier versions have no such setting."""
    if not settings.get("second_look"):
        return ""
    possible, definite = settings["second_look_threshold"], settings["definite_threshold"]
    return (
        "What remained was kept where an additive logistic model of its shape, contrast, surroundings and network "
        f"probability, fitted to simulated scans, gave a probability of at least {possible:g} that it is a microbleed "
        f"(definite from {definite:g}); this step is not part of the method of Dadar et al. 2022. "
    )


def _differences(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Say so where the sessions of one output folder were not processed alike."""
    for key, word in (("settings", "settings"), ("software", "versions")):
        if len({json.dumps(session[key], sort_keys=True) for session in sessions}) > 1:
            return (
                f"Not all sessions were processed with the same {word}; the text describes the last one, "
                "`logs/*_summary.json` each of them."
            )
    return ""
