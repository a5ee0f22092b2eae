"""The methods text: what was really done to whom, with versions, ready to be put into a paper.

Each part of the workflow says in a paragraph what it does (``__desc__`` beside its nodes, collected by
``visit_desc()``); the summary of a session keeps these as ``methods``. Here they are joined for several sessions, each
paragraph once, with what only the results tell. A session that was not finished has no part in it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mbseg_bids.bids.files import write_text
from mbseg_bids.bids.inputs import session_label
from mbseg_bids.data import REFERENCES_BIB

REFERENCES = {
    "Dadar et al.": (
        "Dadar M, Zhernovaia M, Mahmoud S, Camicioli R, Maranzano J, Duchesne S. Using transfer learning for "
        "automated microbleed segmentation. Frontiers in Neuroimaging 1:940849, 2022. "
        "doi:10.3389/fnimg.2022.940849"
    ),
    "Tustison 2010": (
        "Tustison NJ et al. N4ITK: improved N3 bias correction. IEEE Transactions on Medical Imaging "
        "29:1310-1320, 2010. doi:10.1109/TMI.2010.2046908"
    ),
    "Yushkevich 2016": (
        "Yushkevich PA et al. Fast automatic segmentation of hippocampal subfields and medial temporal lobe "
        "subregions in 3 Tesla and 7 Tesla T2-weighted MRI. Alzheimer's & Dementia 12:P126-P127, 2016. "
        "doi:10.1016/j.jalz.2016.06.205"
    ),
    "He 2016": (
        "He K, Zhang X, Ren S, Sun J. Deep residual learning for image recognition. CVPR 2016. doi:10.1109/CVPR.2016.90"
    ),
    "Greenberg 2009": (
        "Greenberg SM et al. Cerebral microbleeds: a guide to detection and interpretation. Lancet Neurology "
        "8:165-174, 2009. doi:10.1016/S1474-4422(09)70013-4"
    ),
    "Gregoire 2009": (
        "Gregoire SM et al. The Microbleed Anatomical Rating Scale (MARS). Neurology 73:1759-1766, 2009. "
        "doi:10.1212/WNL.0b013e3181c34a7d"
    ),
    "Cordonnier 2009": (
        "Cordonnier C et al. Improving interrater agreement about brain microbleeds: development of the Brain "
        "Observer MicroBleed Scale (BOMBS). Stroke 40:94-99, 2009. doi:10.1161/STROKEAHA.108.526996"
    ),
    "Duering 2023": (
        "Duering M et al. Neuroimaging standards for research into small vessel disease: advances since 2013. "
        "Lancet Neurology 22:602-618, 2023. doi:10.1016/S1474-4422(23)00131-X"
    ),
    "Gorgolewski 2011": (
        "Gorgolewski K et al. Nipype: a flexible, lightweight and extensible neuroimaging data processing "
        "framework in Python. Frontiers in Neuroinformatics 5:13, 2011. doi:10.3389/fninf.2011.00013"
    ),
    "Gorgolewski 2016": (
        "Gorgolewski KJ et al. The brain imaging data structure, a format for organizing and describing outputs "
        "of neuroimaging experiments. Scientific Data 3:160044, 2016. doi:10.1038/sdata.2016.44"
    ),
}
"""By how the text cites them; those that it cites are listed below it."""

_NAMED = 6
"""Sessions are named one by one up to this number."""


def write_boilerplate(output_dir: Path, planned: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Write ``logs/CITATION.md`` about the finished sessions of an output folder, and all references as BibTeX.

    Parameters
    ----------
    output_dir
        Root of the derivatives.
    planned
        Facts of sessions with their ``methods``: those that are not finished are described apart, as not run.
    """
    write_text(output_dir / "logs" / "CITATION.bib", REFERENCES_BIB.read_text(encoding="utf-8"))
    return write_text(output_dir / "logs" / "CITATION.md", boilerplate(finished_sessions(output_dir), planned))


def finished_sessions(output_dir: Path, participant: str | None = None) -> list[dict[str, Any]]:
    """Return the summaries of the finished sessions of an output folder, of one participant (label) or of all."""
    summaries = []
    for path in sorted((output_dir / "logs").glob("sub-*_summary.json")):
        if not path.with_name(path.name.replace("_summary.json", "_done.json")).is_file():
            continue
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
            mine = participant is None or summary["participant"] == participant
        except (OSError, ValueError, KeyError, TypeError):
            continue
        summaries += [summary] if mine else []
    return summaries


def boilerplate(finished: Sequence[Mapping[str, Any]], planned: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return the methods text, Markdown, from the summaries of finished sessions and the facts of planned ones."""
    done = {_name(session) for session in finished}
    waiting = [session for session in planned if _name(session) not in done]
    body = ["# Methods", _opening(finished), *_joined(finished)] if finished else ["No session is finished."]
    if waiting:
        body += ["# Not run", f"This would describe {_sessions(waiting)}, not run so far.", *_joined(waiting)]
    text = "\n\n".join(body)
    cited = [reference for words, reference in REFERENCES.items() if words in text]
    listed = "\n".join(f"{number}. {reference}" for number, reference in enumerate(cited, start=1))
    return text + (f"\n\n# References\n\n{listed}\n" if listed else "\n")


def _opening(sessions: Sequence[Mapping[str, Any]]) -> str:
    versions = {str(_mapping(session, "software").get("mbseg-bids", "")) for session in sessions}
    of = f"with mbseg-bids {' and '.join(sorted(versions - {''}))}, which follows" if versions - {""} else "after"
    return f"Cerebral microbleeds were segmented {of} Dadar et al. (2022), in {_sessions(sessions)}."


def _joined(sessions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return every paragraph once, in order; one that is not about all sessions says which."""
    about: dict[str, list[Mapping[str, Any]]] = {}
    place: dict[str, int] = {}
    for session in sessions:
        for number, paragraph in enumerate(_paragraphs(session)):
            about.setdefault(paragraph, []).append(session)
            place[paragraph] = max(number, place.get(paragraph, 0))
    ordered = sorted(about, key=lambda paragraph: place[paragraph])
    n_all = len(sessions)
    return [
        paragraph if len(about[paragraph]) == n_all else f"In {_sessions(about[paragraph], n_all)}: {paragraph}"
        for paragraph in ordered
    ]


def _paragraphs(session: Mapping[str, Any]) -> list[str]:
    methods = session.get("methods")
    methods = [str(paragraph) for paragraph in methods] if isinstance(methods, list) else []
    if not methods:
        methods = ["What was done was not recorded in words by the version that did it."]
    return [*methods, *_results(session), _versions(session)]


def _results(session: Mapping[str, Any]) -> list[str]:
    """Return what only the results of a session tell: the weights and what computed them, and the use of the phase."""
    detection = _mapping(session, "detection")
    search, weights = _mapping(detection, "search"), detection.get("weights")
    sentences = []
    if name := (weights.get("name") if isinstance(weights, Mapping) else weights):
        computed = ", ".join(str(search[key]) for key in ("runtime", "device", "precision") if search.get(key))
        sentences.append(
            f"The weights of the network were {Path(str(name)).name}" + (f" ({computed})." if computed else ".")
        )
    phase = _mapping(detection, "phase")
    if phase:
        rejects = _mapping(_mapping(session, "settings"), "detection").get("reader_criteria")
        used = "what was surely diamagnetic was rejected as calcification" if rejects else "it decided nothing"
        sentences.append(f"The phase was used: {used}." if phase.get("used") else "The phase could not be used.")
    return [" ".join(sentences)] if sentences else []


def _versions(session: Mapping[str, Any]) -> str:
    software = _mapping(session, "software")
    if not software:
        return "Versions were not recorded."
    listed = ", ".join(f"{name} {version}" for name, version in software.items())
    return f"The steps were run by nipype (Gorgolewski 2011). Versions: {listed}."


def _sessions(sessions: Sequence[Mapping[str, Any]], n_all: int | None = None) -> str:
    """Return a number of sessions in words, of how many, and their names where they are few."""
    number = len(sessions)
    of = f" of {n_all}" if n_all is not None else ""
    noun = "session" if (number if n_all is None else n_all) == 1 else "sessions"
    names = f" ({', '.join(sorted(map(_name, sessions)))})" if number <= _NAMED else ""
    return f"{number}{of} {noun}{names}"


def _name(session: Mapping[str, Any]) -> str:
    return str(session.get("title") or session_label(str(session["participant"]), session["session"]))


def _mapping(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = facts.get(key)
    return value if isinstance(value, Mapping) else {}
