"""What is written where: names of the derivatives, their sidecars, and the files of the dataset as a whole."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata as package
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mbseg_bids import __version__
from mbseg_bids.bids.files import remove_leftovers, write_json, write_text
from mbseg_bids.bids.inputs import session_label
from mbseg_bids.contrasts import CHANNELS, CONTRASTS
from mbseg_bids.data.columns import describe_columns
from mbseg_bids.imaging.labels import REGIONS
from mbseg_bids.imaging.template import TEMPLATE_URLS

RAW = "raw"
"""Name of the input dataset in BIDS URIs, resolved by ``DatasetLinks``."""

BIDS_VERSION = "1.10.0"

SCANS = "scans"
"""Suffix of the table of a session's images, which lies beside the folder of the images."""

BIDSIGNORE = ("figures", "*.html", "phenotype", "planted")
"""What the validator is told to leave alone (a trailing slash would not match). Its schema wants each participant once
in a phenotype table, so one row for each session cannot pass."""

ENTITIES = ("part", "space", "res", "label", "seg", "desc")
"""Entities after subject and session, in the order the standard asks for."""

DESCRIPTIONS = {
    "brain": "Brain mask.",
    "preproc": "Corrected for bias (N4); registered rigidly to the space named, by one interpolation.",
}

_LESIONS = "Cerebral microbleeds, one integer for each; the table gives their measures."
_CANDIDATES = "Every candidate, kept or rejected; the table says what became of it and why."
_PREPROC = "Corrected for intensity bias (N4), standardised to 0-100 inside the brain, on the grid as acquired."
_REGISTERED = "Registered rigidly to T2*, on its grid as acquired, standardised to 0-100 inside the brain."
_LOCAL_PHASE = (
    "Phase of the last echo without its smooth part (that of the complex signal smoothed by 4 mm), positive where the "
    "field is stronger, zero outside the brain."
)
_MARS_TEXT = (
    "Places of the Microbleed Anatomical Rating Scale (Gregoire et al. 2009, doi:10.1212/WNL.0b013e3181c34a7d); the "
    "table counts the microbleeds in them. Deep and periventricular white matter lies within 10 mm of a lateral "
    "ventricle. Lobes come from a FreeSurfer parcellation where one was reused, else from an atlas."
)
_BOMBS_TEXT = (
    "Sheet of the Brain Observer MicroBleed Scale (Cordonnier et al. 2009, doi:10.1161/STROKEAHA.108.526996), from the "
    "same places."
)
_REGIONS_TEXT = "Brain regions: those of Dadar et al. 2022, and the brainstem."


CONTRASTS_COLUMN = {
    "Description": "Contrasts that the session has and the network saw, comma-separated, the same in every row. With "
    "no T1w or T2w, lesions do not compare with those found on T2starw,T2w,T1w."
}
"""Column ``contrasts`` of the lesion table and the table of candidates: rows of many sessions are often joined."""


DIAMAGNETIC = "diamagnetic"
_DIAMAGNETIC_TEXT = (
    "By its phase it is diamagnetic as calcium is, and surely so (susceptibility_moment, moment_error): no blood."
)
"""Level of the column ``reason`` in sessions with a phase."""


@dataclass(frozen=True)
class Output:
    """One file of a session."""

    name: str
    """Name within the workflow."""
    source: tuple[str, str]
    """Workflow (``anatomy``, ``detection``, ``placed``, ``sheets``, ``quality``, ``in_t1w``, ``in_template``) and its
    field."""
    suffix: str
    space: str | None
    entities: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    contrasts: tuple[str, ...] = ("T2starw", "T2w", "T1w")
    """Input images it was computed from."""
    table: str | None = None
    """Columns of the table beside it, as named in ``data/columns.json``; ``regions`` for a table of labels."""
    extension: str = ".nii.gz"
    native: bool = False
    """True if it must lie on the grid of the T2*-weighted image as acquired, to the bit."""


def _lesion_outputs(source: str, space: str) -> tuple[Output, ...]:
    mask = {"Type": "Lesion", "Description": "Cerebral microbleeds."}
    return (
        Output(f"mask_{source}", (source, "cmb_mask"), "mask", space, {"label": "CMB"}, mask),
        Output(f"dseg_{source}", (source, "cmb_dseg"), "dseg", space, {"seg": "CMB"},
               {"Description": f"{_LESIONS} It stands beside the image in space-T2starw."}),
    )  # fmt: skip


NATIVE_OUTPUTS: tuple[Output, ...] = (
    Output("mask", ("detection", "cmb_mask"), "mask", "T2starw", {"label": "CMB"},
           {"Type": "Lesion", "Description": "Cerebral microbleeds."}, native=True),
    Output("probseg", ("detection", "cmb_probseg"), "probseg", "T2starw", {"label": "CMB"},
           {"Description": "Microbleed probability of the network, before any post-processing; zero outside "
            "the search mask."}, native=True),
    Output("dseg", ("detection", "cmb_dseg"), "dseg", "T2starw", {"seg": "CMB"}, {"Description": _LESIONS},
           table="lesions", native=True),
    Output("dseg_table", ("placed", "cmb_dseg_tsv"), "dseg", "T2starw", {"seg": "CMB"}, extension=".tsv"),
    Output("candidates", ("detection", "candidates_dseg"), "dseg", "T2starw", {"seg": "CMBcandidates"},
           {"Description": _CANDIDATES}, table="candidates", native=True),
    Output("candidates_table", ("placed", "candidates_tsv"), "dseg", "T2starw", {"seg": "CMBcandidates"},
           extension=".tsv"),
    Output("t2star", ("anatomy", "t2star_native_preproc"), "T2starw", "T2starw", {"desc": "preproc"},
           {"SkullStripped": False, "Description": _PREPROC}, ("T2starw",), native=True),
    Output("t2w", ("anatomy", "t2w_native_preproc"), "T2w", "T2starw", {"desc": "preproc"},
           {"SkullStripped": False, "Description": _REGISTERED}, ("T2w", "T2starw"), native=True),
    Output("t1w", ("anatomy", "t1w_native_preproc"), "T1w", "T2starw", {"desc": "preproc"},
           {"SkullStripped": False, "Description": _REGISTERED}, ("T1w", "T2starw"), native=True),
    Output("brain", ("anatomy", "brain_native"), "mask", "T2starw", {"desc": "brain"},
           {"Type": "Brain", "Description": "Brain mask."}, native=True),
    Output("regions", ("anatomy", "regions_native"), "dseg", "T2starw", {"seg": "regions"},
           {"Description": _REGIONS_TEXT}, table="regions", native=True),
    Output("mars", ("sheets", "mars_dseg"), "dseg", "T2starw", {"seg": "MARS"}, {"Description": _MARS_TEXT},
           table="mars", native=True),
    Output("mars_table", ("sheets", "mars_tsv"), "dseg", "T2starw", {"seg": "MARS"}, extension=".tsv"),
    Output("bombs_table", ("sheets", "bombs_tsv"), "dseg", "T2starw", {"seg": "BOMBS"}, {"Description": _BOMBS_TEXT},
           table="bombs", extension=".tsv"),
    Output("quality", ("quality", "scans_tsv"), "scans", None, table="quality", extension=".tsv"),
)  # fmt: skip

PHASE_OUTPUTS: tuple[Output, ...] = (
    Output("local_phase", ("detection", "local_phase"), "T2starw", "T2starw", {"part": "phase", "desc": "local"},
           {"Units": "rad", "SkullStripped": True, "Description": _LOCAL_PHASE}, ("T2starw",), native=True),
)  # fmt: skip
"""Of sessions whose phase is used."""

T1W_OUTPUTS: tuple[Output, ...] = (
    *_lesion_outputs("in_t1w", "T1w"),
    Output("t1w_t1w", ("anatomy", "t1w_preproc"), "T1w", None, {"desc": "preproc"},
           {"SkullStripped": False, "Description": _PREPROC}, ("T1w",)),
    Output("brain_t1w", ("anatomy", "brain_t1w"), "mask", "T1w", {"desc": "brain"},
           {"Type": "Brain", "Description": "Brain mask."}, ("T1w",)),
    Output("regions_t1w", ("anatomy", "regions_t1w"), "dseg", "T1w", {"seg": "regions"},
           {"Description": _REGIONS_TEXT}, ("T1w",), table="regions"),
)  # fmt: skip


def template_outputs(template: str) -> tuple[Output, ...]:
    """Return the outputs in the space of a template."""
    return _lesion_outputs("in_template", template)


def derivative_path(
    participant: str,
    session: str | None,
    *,
    suffix: str,
    extension: str = ".nii.gz",
    space: str | None = None,
    **entities: str,
) -> Path:
    """Return the path of a derivative of one session, relative to the output folder."""
    given = {"space": space, **entities}
    unknown = set(given) - set(ENTITIES)
    if unknown:
        raise ValueError(f"unknown entity {sorted(unknown)[0]}; one of: {', '.join(ENTITIES)}")
    parts = [session_label(participant, session)]
    parts += [f"{entity}-{given[entity]}" for entity in ENTITIES if given.get(entity)]
    folder = Path(f"sub-{participant}", *([f"ses-{session}"] if session else []))
    folder = folder if suffix == SCANS else folder / "anat"
    return folder / ("_".join([*parts, suffix]) + extension)


def outputs_of(contrasts: Iterable[str], spaces: Iterable[str], template: str, *, phase: bool = False) -> list[Output]:
    """Return the files that a session with these contrasts leaves.

    Parameters
    ----------
    contrasts
        Images the session has. Without a T1w there is no space of the T1w.
    spaces
        ``T1w``, ``template`` or both, beside the T2* grid.
    template
        BIDS name of the template.
    phase
        Whether it has a phase. Whether that can be used turns out later; if not, its files are not written.
    """
    have = set(contrasts)
    outputs = [output for output in NATIVE_OUTPUTS if output.suffix not in CONTRASTS or output.suffix in have]
    if "T1w" in spaces and "T1w" in have:
        outputs += T1W_OUTPUTS
    if "template" in spaces:
        outputs += template_outputs(template)
    return outputs + (list(PHASE_OUTPUTS) if phase else [])


def output_path(output: Output, participant: str, session: str | None) -> Path:
    """Return the path of an output of one session, relative to the output folder."""
    return derivative_path(
        participant,
        session,
        suffix=output.suffix,
        extension=output.extension,
        space=output.space,
        **output.entities,
    )


def name_in_scans(output: Output, participant: str, session: str | None) -> str:
    """Return the path of an output of one session as the table of the session's images names it."""
    return f"anat/{output_path(output, participant, session).name}"


def thumbnail_path(output_dir: Path, label: str) -> Path:
    """Return the path of the small picture of a session that lists of sessions show."""
    return output_dir / "figures" / f"{label}_thumbnail.jpg"


def remove_session_files(output_dir: Path, participant: str, session: str | None, template: str) -> None:
    """Remove what this app has written for a session, and what a killed run was writing; nothing else is touched."""
    outputs = (*NATIVE_OUTPUTS, *PHASE_OUTPUTS, *T1W_OUTPUTS, *template_outputs(template))
    names = [output_path(output, participant, session) for output in outputs]
    for name in names:
        stem = name.name.split(".")[0]
        for ending in (".nii.gz", ".json", ".tsv"):
            (output_dir / name).with_name(stem + ending).unlink(missing_ok=True)
    (output_dir / "logs" / f"{session_label(participant, session)}_summary.json").unlink(missing_ok=True)
    thumbnail_path(output_dir, session_label(participant, session)).unlink(missing_ok=True)
    anat = (output_dir / names[0]).parent
    remove_leftovers(anat)
    for folder in (anat, anat.parent, anat.parent.parent):
        if folder == output_dir or not folder.is_dir() or any(folder.iterdir()):
            break
        folder.rmdir()


def bids_uri(path: Path, bids_dir: Path) -> str:
    """Return the BIDS URI of a file of the input dataset."""
    return f"bids:{RAW}:{path.relative_to(bids_dir).as_posix()}"


def sidecar_of(
    output: Output, images: Mapping[str, Iterable[Path]], bids_dir: Path, *, phase: Iterable[Path] = ()
) -> dict[str, Any]:
    """Return the content of the JSON sidecar of an image output.

    Parameters
    ----------
    output
        Which output.
    images
        Input files by contrast, of those the session has.
    bids_dir
        Root of the input dataset.
    phase
        Input files of the phase, of a session that has one.
    """
    if output.table == "quality":
        return describe_columns("quality")
    phase = tuple(phase)
    metadata = dict(output.metadata)
    reference = {"T2starw": "T2starw", "T1w": "T1w"}.get(output.space or "")
    if reference:
        metadata["SpatialReference"] = bids_uri(next(iter(images[reference])), bids_dir)
    elif output.space in TEMPLATE_URLS:
        metadata["SpatialReference"] = TEMPLATE_URLS[output.space]
    used = [contrast for contrast in output.contrasts if contrast in images]
    metadata["Sources"] = [bids_uri(p, bids_dir) for contrast in used for p in images[contrast]]
    if output in PHASE_OUTPUTS:
        metadata["Sources"] += [bids_uri(path, bids_dir) for path in phase]
    if output.source[1].startswith(("cmb_", "candidates_")):
        metadata["Contrasts"] = [contrast for contrast in CHANNELS if contrast in images]
        missing = [contrast for contrast in CHANNELS if contrast not in images]
        if missing:
            metadata["Description"] += f" Found without {' and '.join(missing)}, which the session does not have."
    if output.table in ("lesions", "candidates"):
        metadata |= describe_columns(output.table) | describe_columns("places")
        metadata["index"] = metadata["index"] | {"Format": "integer"}
        metadata["contrasts"] = CONTRASTS_COLUMN
        if phase:
            metadata |= _of_phase(metadata)
            metadata["Sources"] += [bids_uri(path, bids_dir) for path in phase]
    elif output.table in ("mars", "bombs"):
        metadata |= describe_columns(output.table)
    elif output.table == "regions":
        metadata |= {
            "index": {"Description": "Value in the image.", "Format": "integer"},
            "name": {"Description": "Name of the region."},
        }
    return metadata


def _of_phase(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the sidecar of a table says more, or otherwise, where the session has a phase."""
    more: dict[str, Any] = describe_columns("phase")
    if "reason" in metadata:
        reason = metadata["reason"]
        more["reason"] = reason | {"Levels": reason["Levels"] | {DIAMAGNETIC: _DIAMAGNETIC_TEXT}}
    return more


def regions_table() -> str:
    """Return the table of region labels as TSV text."""
    return "index\tname\n" + "".join(f"{index}\t{name}\n" for index, name in REGIONS.items())


def write_dataset_files(output_dir: Path, bids_dir: Path, source: Mapping[str, Any]) -> None:
    """Write the files that describe the derivative dataset as a whole.

    Parameters
    ----------
    output_dir, bids_dir
        Roots of output and input.
    source
        dataset_description of the input.
    """
    write_json(output_dir / "dataset_description.json", _description(output_dir, bids_dir, source))
    rows = "".join(f"desc-{name}\t{text}\n" for name, text in DESCRIPTIONS.items())
    write_text(output_dir / "descriptions.tsv", "desc_id\tdescription\n" + rows)
    write_text(output_dir / ".bidsignore", "".join(f"{pattern}\n" for pattern in BIDSIGNORE))
    write_text(output_dir / "README.md", _README)
    changes = output_dir / "CHANGES"
    if not changes.exists():  # the user may keep a history here
        write_text(changes, f"{__version__}\n  - First results of mbseg-bids {__version__}.\n")


def _description(output_dir: Path, bids_dir: Path, source: Mapping[str, Any]) -> dict[str, Any]:
    link = _link(bids_dir.resolve(), output_dir.resolve(), source)
    generated: dict[str, Any] = {"Name": "mbseg-bids", "Version": __version__}
    generated["Description"] = "Segmentation of cerebral microbleeds."
    if code := _code_url():
        generated["CodeURL"] = code
    container = os.environ.get("MBSEG_CONTAINER")  # set in the images that the project builds
    if container:
        generated["Container"] = {"Type": container.split(":", 1)[0], "Tag": container}
    description: dict[str, Any] = {
        "Name": "Cerebral microbleeds (mbseg-bids)",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [generated],
        "DatasetLinks": {RAW: link},
    }
    authors = source.get("Authors")
    if isinstance(authors, list) and authors:
        description["Authors"] = [str(author) for author in authors]
    if source.get("DatasetDOI"):
        doi = str(source["DatasetDOI"])
        description["SourceDatasets"] = [{"URL": _doi_url(doi), "DOI": doi}]
    if source.get("License"):
        description["License"] = str(source["License"])
    return description


def _code_url() -> str | None:
    """Return where the code of the installed package is to be had, if the package says so."""
    try:
        urls = package.metadata("mbseg-bids").get_all("Project-URL") or []
    except package.PackageNotFoundError:
        return None
    known = {name.strip().lower(): url.strip() for name, _, url in (entry.partition(",") for entry in urls)}
    return next((known[name] for name in ("source", "repository", "homepage") if name in known), None)


def _link(bids_dir: Path, output_dir: Path, source: Mapping[str, Any]) -> str:
    """Link to the input by a relative path: an absolute one would name this machine, and be wrong on the next.

    Where the two folders share nothing but the root, the relative path would be the absolute one in disguise. The DOI
    of the input stands there then; without one, the bare name of its folder.
    """
    shared = Path(os.path.commonpath([bids_dir, output_dir]))
    if shared != Path(shared.anchor) or len(bids_dir.parts) <= 2:  # /data, as in a container, names nothing
        return quote(Path(os.path.relpath(bids_dir, output_dir)).as_posix())
    return _doi_url(str(source["DatasetDOI"])) if source.get("DatasetDOI") else quote(bids_dir.name)


def _doi_url(doi: str) -> str:
    return doi if doi.startswith("http") else "https://doi.org/" + doi.removeprefix("doi:")


_README = """\
# Cerebral microbleeds

Made by mbseg-bids from a BIDS dataset with T1w, T2w and T2*-weighted images, after Dadar et al. 2022. A session without
T1w or T2w says so in its report, in `Contrasts` of the `.json` files, and in the column `contrasts` of the tables.

- `sub-X.html`: report of a participant; open it first.
- `sub-X/[ses-Y/]anat/*_space-T2starw_label-CMB_mask.nii.gz`: microbleeds on the grid of the T2*-weighted image.
- `sub-X/[ses-Y/]anat/*_space-T2starw_seg-CMB_dseg.tsv`: one row for each microbleed; columns are described in the
  `.json` beside it.
- `sub-X/[ses-Y/]anat/*_space-T2starw_seg-CMBcandidates_dseg.tsv`: every candidate, and why it was rejected.
- `sub-X/[ses-Y/]*_scans.tsv`: quality of the T2*-weighted image, and whether counts are unreliable for it.
- `phenotype/microbleeds.tsv`: one row for each session, after the group level was run.
- `logs/`: settings, warnings and the methods text (`CITATION.md`).

A segmentation is no diagnosis: look at the report.
"""
