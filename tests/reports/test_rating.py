"""Places in the report: from the sheets of a session, which older output folders do not have."""

import pandas as pd
from fake_output import write_session

from mbseg_bids.clinical.bombs import bombs_sheet
from mbseg_bids.clinical.mars import PlacedLesion, mars_sheet
from mbseg_bids.clinical.pattern import PATTERN_CAVEAT
from mbseg_bids.imaging.place_labels import PLACE_LABELS
from mbseg_bids.reports.individual import build_individual_report
from mbseg_bids.reports.rating import PLACES_CAVEAT, read_rating
from mbseg_bids.reports.session_files import SessionFiles, SessionKey

LABEL = {name: label for label, name in PLACE_LABELS.items()}
KEY = SessionKey("01")


def write_sheets(anat, places, in_doubt=(), certainty="definite"):
    lesions = [PlacedLesion(f"CMB-{n:03d}", LABEL[p], certainty, 6.0) for n, p in enumerate(places, start=1)]
    doubtful = [PlacedLesion(name, LABEL[place]) for name, place in in_doubt]
    for name, rows in (("MARS", mars_sheet(lesions, doubtful)), ("BOMBS", bombs_sheet(lesions))):
        path = anat / f"sub-01_space-T2starw_seg-{name}_dseg.tsv"
        pd.DataFrame(rows).to_csv(path, sep="\t", index=False)


def session(tmp_path, *args, **kwargs):
    anat = write_session(tmp_path, images=False)
    write_sheets(anat, *args, **kwargs)
    return SessionFiles(tmp_path, KEY)


def test_a_page_with_sheets_has_their_pattern_and_the_candidates_that_would_change_it(tmp_path):
    session(tmp_path, ["left_frontal", "right_parietal", "left_occipital"], [("CAND-004", "midline_corpus_callosum")])
    page = build_individual_report(tmp_path, "01").read_text()
    assert "strictly lobar" in page
    assert "would be mixed if the rejected CAND-004 were a microbleed" in page
    assert "3 strictly lobar microbleeds, none deep" in page
    assert PLACES_CAVEAT in page
    assert PATTERN_CAVEAT not in page


def test_a_page_without_sheets_is_as_before(tmp_path):
    write_session(tmp_path, images=False)
    page = build_individual_report(tmp_path, "01").read_text()
    assert PATTERN_CAVEAT in page
    assert "Rating sheets" not in page


def test_cells_are_those_of_the_sheet(tmp_path):
    rating = read_rating(session(tmp_path, ["left_frontal", "left_frontal", "right_thalamus", "midline_brainstem"]))
    cells = {row.place: row.cells for row in rating.mars}
    assert cells["frontal"] == ("2 / 0", "0 / 0", "")
    assert cells["thalamus"] == ("0 / 0", "1 / 0", "")
    assert cells["brainstem"] == ("0 / 0", "0 / 0", "1 / 0")
    assert [row.place for row in rating.mars if row.filled] == ["frontal", "thalamus", "brainstem"]
    bombs = {row.place: row.cells for row in rating.bombs}
    assert bombs["subcortical_white_matter"][0] == "0 / 2 / 0 / 0"
    assert "unassigned" not in cells
    assert rating.doubts == ()


def test_without_a_second_look_the_cells_have_totals(tmp_path):
    rating = read_rating(session(tmp_path, ["left_insula"], certainty="n/a"))
    assert {row.place: row.cells for row in rating.mars}["insula"] == ("1", "0", "")


def test_a_broken_sheet_is_noted_and_stops_nothing(tmp_path):
    anat = write_session(tmp_path, images=False)
    (anat / "sub-01_space-T2starw_seg-MARS_dseg.tsv").write_text("name\tplace\nx\ty\n")
    files = SessionFiles(tmp_path, KEY)
    assert read_rating(files) is None
    assert any("sheet of MARS" in problem for problem in files.problems)
    write_sheets(anat, ["left_insula"])
    path = anat / "sub-01_space-T2starw_seg-MARS_dseg.tsv"
    path.write_text(path.read_text().replace("\t1\tCMB-001", "\tmany\tCMB-001"))
    files = SessionFiles(tmp_path, KEY)
    assert read_rating(files) is None
    assert any("cannot be used" in problem for problem in files.problems)


def test_the_group_table_takes_the_pattern_from_the_sheet(tmp_path):
    from mbseg_bids.group.rows import read_session

    anat = write_session(tmp_path, images=False)  # one lesion in deep grey matter, by region
    by_region = read_session(tmp_path, KEY).row["distribution_pattern"]
    write_sheets(anat, ["left_frontal", "right_frontal", "left_insula"])
    assert (by_region, read_session(tmp_path, KEY).row["distribution_pattern"]) == ("mixed", "strictly_lobar")
