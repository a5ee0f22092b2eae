"""Datasets whose folders, names, sidecars and tables are broken or odd."""

import json
import os
import shutil
import tarfile

from corpus import NOTHING, WHOLE, accepted, case, refused, stops
from place import run_app, write_json

SECRETS = {
    "PatientName": "Doe^Jane", "PatientID": "MRN-7741", "PatientBirthDate": "19450508", "PatientSex": "F",
    "InstitutionName": "St. Elsewhere", "ReferringPhysicianName": "Dr. Who", "AcquisitionDateTime": "2019-04-01T10:11",
    "DeviceSerialNumber": "SN-990177", "StationName": "MRC35123", "PatientComments": "wife of Joe",
}  # fmt: skip
"""Fields that identify a person or a place; none of their values may be in any output."""


@refused("sub-01 has no T2starw", session=66)
def no_t2star(p):
    """Participant without a T2*-weighted image"""
    p.t2star.unlink()


@case("left out, with no T1w, T2w or T2*-weighted image selected: sub-01", code=0, left=(NOTHING, WHOLE))
def no_image_at_all(p):
    """Participant with a functional scan only"""
    shutil.rmtree(p.raw / "sub-01")
    p.save(p.raw / "sub-01/func/sub-01_task-rest_bold.nii.gz")


@accepted("sub-09_T1w.nii.gz lies in sub-01/anat, but is not named sub-01_...: it is not used")
def name_of_another(p):
    """T1w named after another participant in the folder of sub-01"""
    p.path("T1w").rename(p.path("T1w").with_name("sub-09_T1w.nii.gz"))


@case("sub-Zoë is not a BIDS label", code=1, session=0, left=(WHOLE, WHOLE))
def unicode_label(p):
    """Participant label with a letter that BIDS does not know"""
    p.save(p.raw / "sub-Zoë/anat/sub-Zoë_T2starw.nii.gz")


@case("sub-01 copy is not a BIDS label", code=1, session=0, left=(WHOLE, WHOLE))
def copied_folder(p):
    """Folder “sub-01 copy” beside sub-01"""
    shutil.copytree(p.raw / "sub-01", p.raw / "sub-01 copy")


@case("sub-03/ses-März is not a BIDS label", code=1, session=0, left=(WHOLE, WHOLE))
def unicode_session(p):
    """Session label with a letter that BIDS does not know"""
    p.save(p.raw / "sub-03/ses-März/anat/sub-03_ses-März_T2starw.nii.gz")


@accepted()
def link_loops(p):
    """Links to the folders above, two of them: following them has 2^40 ways"""
    (p.raw / "sub-01/anat/up").symlink_to("..")
    (p.raw / "sub-01/anat/top").symlink_to("../..")
    (p.raw / "again").symlink_to(".")


@case("sub-03 is a link to a folder that is not here", code=1, session=0, left=(WHOLE, WHOLE))
def link_to_missing_participant(p):
    """Participant folder that is a dangling link"""
    (p.raw / "sub-03").symlink_to("/nowhere/sub-03")


@accepted()
def ten_thousand_files(p):
    """Dataset of 10,000 files"""
    for participant in range(100, 150):
        folder = p.raw / f"sub-{participant}" / "func"
        folder.mkdir(parents=True)
        for run in range(200):
            os.close(os.open(folder / f"sub-{participant}_task-rest_run-{run}_bold.nii.gz", os.O_CREAT))
    return ["--participant-label", "01", "02"]


@stops("has no participant (no folder sub-*)", 16)
def empty_dataset(p):
    """Dataset without a participant"""
    shutil.rmtree(p.raw / "sub-01")
    shutil.rmtree(p.raw / "sub-02")


@stops("has no dataset_description.json", 16)
def no_description(p):
    """Dataset without dataset_description.json"""
    (p.raw / "dataset_description.json").unlink()


@stops("dataset_description.json", 16)
def broken_description(p):
    """dataset_description.json cut off"""
    (p.raw / "dataset_description.json").write_text('{"Name": "x", ')


@stops("dataset_description.json is not a JSON object", 16)
def description_is_a_list(p):
    """dataset_description.json holds a list"""
    (p.raw / "dataset_description.json").write_text("[1, 2]")


@stops("dataset_description.json", 16)
def description_in_utf16(p):
    """dataset_description.json in UTF-16"""
    (p.raw / "dataset_description.json").write_bytes(json.dumps({"Name": "x"}).encode("utf-16"))


@stops("dataset_description.json", 16)
def description_of_many_levels(p):
    """dataset_description.json nested 100,000 levels deep"""
    (p.raw / "dataset_description.json").write_text("[" * 100_000)


@accepted()
def description_with_mark(p):
    """dataset_description.json with a byte order mark"""
    path = p.raw / "dataset_description.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


@stops("is not a folder", 16)
def archive_as_dataset(p):
    """Archive given as the dataset; it is not unpacked"""
    archive = p.root / "raw.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(p.raw, "raw")
    return lambda: run_app(p, bids_dir=archive)


@stops("is not a folder", 16)
def dataset_not_there(p):
    """Dataset that does not exist"""
    return lambda: run_app(p, bids_dir=p.root / "nowhere")


@accepted("sub-01_T2starw.json is not valid JSON: it is left out of account")
def sidecar_invalid(p):
    """Sidecar cut off"""
    p.sidecar(b'{"EchoTime": 0.02, ')


@accepted("sub-01_T2starw.json is not UTF-8: it is left out of account")
def sidecar_not_utf8(p):
    """Sidecar in Latin-1"""
    p.sidecar('{"Manufacturer": "Künstler"}'.encode("latin-1"))


@accepted("sub-01_T2starw.json is not a JSON object: it is left out of account")
def sidecar_is_a_list(p):
    """Sidecar that holds a list"""
    p.sidecar([1, 2])


@accepted("sub-01_T2starw.json is not valid JSON: it is left out of account")
def sidecar_of_many_levels(p):
    """Sidecar nested 100,000 levels deep"""
    p.sidecar(b'{"a":' * 100_000)


@accepted("sub-01_T2starw.json is no file: it is left out of account")
def sidecar_is_a_pipe(p):
    """Named pipe under the name of a sidecar"""
    os.mkfifo(p.t2star.with_name("sub-01_T2starw.json"))


@accepted("sub-01_T2starw.json is too large for a sidecar: it is left out of account")
def sidecar_of_17_megabytes(p):
    """Sidecar of 17 MB"""
    p.sidecar(b'{"a": "' + b"x" * (17 * 2**20) + b'"}')


def _one_line_of_text(ran) -> None:
    metadata = json.loads((ran.place.out / "logs/sub-01_summary.json").read_text())["inputs"]["T2starw"]["metadata"]
    assert len(metadata["Manufacturer"]) <= 100
    assert "\n" not in metadata["Manufacturer"]
    assert set(metadata) == {"Manufacturer"}


@accepted(check=_one_line_of_text)
def sidecar_hostile(p):
    """Sidecar with markup, control characters, code and objects where texts are expected"""
    text = "<script>alert(1)</script>\n\t\x1b[2J'; DROP TABLE x; --" + "A" * 5000
    p.sidecar({"Manufacturer": text, "ManufacturersModelName": {"__import__('os')": [1]}, "FlipAngle": [[1]] * 20})


def _no_secret(ran) -> None:
    for path in ran.place.out.rglob("*"):
        for name, value in SECRETS.items():
            if len(value) > 1 and path.is_file():
                assert value.encode() not in path.read_bytes(), (name, path)


@accepted(check=_no_secret)
def sidecar_with_a_name(p):
    """Sidecar with PatientName, PatientID, birth date and the like: dropped"""
    p.sidecar(SECRETS | {"EchoTime": 0.02})
    p.sidecar(SECRETS, p.path("T1w"))


def _echo_time(ran) -> float | None:
    summary = json.loads((ran.place.out / "logs/sub-01_summary.json").read_text())
    return summary["inputs"]["T2starw"]["metadata"].get("EchoTime")


def _has_no_echo_time(ran) -> None:
    assert _echo_time(ran) is None


def _is_20_ms(ran) -> None:
    assert _echo_time(ran) == 0.02


@accepted("EchoTime 0 cannot be: it is left out of account", check=_has_no_echo_time)
def echo_time_zero(p):
    """Echo time zero"""
    p.sidecar({"EchoTime": 0})


@accepted("EchoTime 20 is taken for milliseconds; BIDS wants seconds", check=_is_20_ms)
def echo_time_in_ms(p):
    """Echo time in milliseconds"""
    p.sidecar({"EchoTime": 20})


@accepted("EchoTime 'NaN' cannot be: it is left out of account", check=_has_no_echo_time)
def echo_time_as_text(p):
    """Echo time as a text"""
    p.sidecar({"EchoTime": "NaN"})


@refused("desc-brain_mask.nii.gz cannot be read: No such file or directory")
def reused_mask_not_here(p):
    """Brain mask to reuse whose content was not fetched"""
    anat = p.root / "masks/sub-01/anat"
    anat.mkdir(parents=True)
    (anat / "sub-01_desc-brain_mask.nii.gz").symlink_to("/nowhere")
    return ["-d", f"masks={p.root / 'masks'}"]


@stops("the filter for T2starw cannot be used", 64)
def filter_of_unknown_entity(p):
    """Filter file with an entity that does not exist"""
    write_json(p.root / "filter.json", {"t2starw": {"colour": "red"}})
    return ["--bids-filter-file", p.root / "filter.json"]


@stops("cannot read filter file", 64)
def filter_not_json(p):
    """Filter file that is no JSON"""
    (p.root / "filter.json").write_text("t2starw: swi")
    return ["--bids-filter-file", p.root / "filter.json"]


@stops("cannot use the index in", 64)
def broken_index(p):
    """pybids index that is no database"""
    (p.root / "index").mkdir()
    (p.root / "index/layout_index.sqlite").write_text("no database")
    return ["--bids-database-dir", p.root / "index"]


def _with_participants(p, content: bytes):
    """Run both levels with a participants.tsv."""
    (p.raw / "participants.tsv").write_bytes(content)

    def both():
        assert run_app(p).code == 0
        return run_app(p, level="group")

    return both


def _joined(ran) -> None:
    header, *rows = (ran.place.out / "phenotype/microbleeds.tsv").read_text(encoding="utf-8").splitlines()
    ages = [dict(zip(header.split("\t"), row.split("\t"), strict=True)).get("age") for row in rows]
    assert ages == ["71", "64"], ages


TABLE = "participant_id\tage\tplace\nsub-01\t71\tZürich\nsub-02\t64\tÅbo\n"


@accepted("lists sub-01 twice: the first row counts", check=_joined)
def participants_twice(p):
    """participants.tsv with a participant in two rows; group level"""
    return _with_participants(p, (TABLE + "sub-01\t99\tOslo\n").encode())


@accepted("mbseg-bids finished: group tables of 2 sessions", check=_joined)
def participants_with_spaces(p):
    """participants.tsv with spaces about names and values, and empty lines; group level"""
    return _with_participants(p, TABLE.replace("\t", " \t ").replace("\n", " \n\n").encode())


@accepted("mbseg-bids finished: group tables of 2 sessions", check=_joined)
def participants_in_utf16(p):
    """participants.tsv saved by Excel as Unicode text (UTF-16, CRLF); group level"""
    return _with_participants(p, TABLE.replace("\n", "\r\n").encode("utf-16"))


@accepted("mbseg-bids finished: group tables of 2 sessions", check=_joined)
def participants_with_mark(p):
    """participants.tsv with a byte order mark and CRLF; group level"""
    return _with_participants(p, b"\xef\xbb\xbf" + TABLE.replace("\n", "\r\n").encode())


@accepted("is not UTF-8: it was read as Latin-1", check=_joined)
def participants_in_latin1(p):
    """participants.tsv in Latin-1; group level"""
    return _with_participants(p, TABLE.encode("latin-1"))
