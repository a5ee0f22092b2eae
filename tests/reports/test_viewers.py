"""Commands on the cards: only options that the viewers have, and paths that are there."""

import ast
import re
import shlex

from fake_output import write_session

from mbseg_bids.bids.colours import coloured, write_label_files
from mbseg_bids.reports.individual import build_individual_report
from mbseg_bids.reports.session_files import SessionFiles, SessionKey
from mbseg_bids.reports.viewers import Images, images_of, viewer_commands

ROW = {"i": "46", "j": "104", "k": "16", "x_mm": "46.0", "y_mm": "-21.69", "z_mm": "-29.22"}
IMAGES = Images("sub-01/anat/t2.nii.gz", "sub-01/anat/l.nii.gz", "sub-01/anat/l")
KNOWN = {
    "fsleyes": {"--voxelLoc": 3, "--overlayType": 1, "--lut": 1},  # fsleyes --fullhelp, 1.20
    "freeview": {"-v": 2, "-ras": 3},  # freeview/main.cpp
    "itksnap": {"-g": 1, "-s": 1, "-l": 1},  # GUI/Qt/main.cxx
    "Slicer": {"--python-code": 1},
}


def test_only_known_options_with_the_right_number_of_words():
    commands = dict(viewer_commands(ROW, IMAGES))
    for command in commands.values():
        program, *words = shlex.split(command)
        while words:
            option = words.pop(0)
            if option in (IMAGES.t2star, IMAGES.labels):
                continue
            values = [words.pop(0) for _ in range(KNOWN[program][option])]
            assert not any(value in KNOWN[program] for value in values)
    assert "--voxelLoc 46 104 16" in commands["FSLeyes"]
    assert "-ras 46 -21.69 -29.22" in commands["freeview"]
    assert "lut=sub-01/anat/l.ctbl" in commands["freeview"]
    ast.parse(shlex.split(commands["3D Slicer"])[2])


def test_a_row_without_a_place_has_no_commands():
    assert viewer_commands(ROW | {"i": "n/a"}, IMAGES) == ()
    assert viewer_commands({}, IMAGES) == ()


def test_the_files_of_the_commands_exist(tmp_path):
    anat = write_session(tmp_path)
    files = SessionFiles(tmp_path, SessionKey("01"))
    assert images_of(files, "CMB") is None  # of an earlier version: no label files
    for seg, kind in (("CMB", "lesions"), ("CMBcandidates", "candidates")):
        table = anat / f"sub-01_space-T2starw_seg-{seg}_dseg.tsv"
        write_label_files(table, coloured(table.read_text(), kind))
    page = build_individual_report(tmp_path, "01").read_text()
    paths = set(re.findall(r"(?:sub-01/anat/[^ :&;\"]+)", " ".join(re.findall(r"<code>(.*?)</code>", page))))
    assert len(paths) == 5  # the rejected candidate of the fake has no place
    assert [path for path in paths if not (tmp_path / path.rstrip("'")).is_file()] == []
    assert "Open in a viewer" in page
