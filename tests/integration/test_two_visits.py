"""Two simulated visits of each person, repositioned by 10 degrees: what is new is counted right in every one.

The simulated truth stands for what the App finds, so that this is about counting and registration alone.
"""

import csv
import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from toy_head import make_toy_head

from mbseg_bids.cli import workbench
from mbseg_bids.clinical.visits import aria_h_class
from mbseg_bids.simulation.dataset import DatasetPlan, write_dataset
from mbseg_bids.simulation.visits import VisitPlan

SETS = {
    "same slices": (2, VisitPlan(new=2, grown=1, gone=1, turn=10.0)),
    "other slices": (1, VisitPlan(new=3, grown=1, gone=1, turn=10.0, spacing=(1.0, 1.0, 2.0))),
}


def as_app_output(bids, out, participant, session):
    """Write the truth of a session under the names of the App; return its table by the number of each microbleed."""
    stem = f"{participant}_{session}"
    truth, anat = (root / participant / session / "anat" for root in (bids / "derivatives" / "truth", out))
    anat.mkdir(parents=True)
    (out / "logs").mkdir(exist_ok=True)
    scan = nib.load(bids / participant / session / "anat" / f"{stem}_T2starw.nii.gz")
    start = f"{stem}_space-T2starw"
    nib.save(scan, anat / f"{start}_desc-preproc_T2starw.nii.gz")
    for name in ("desc-brain_mask.nii.gz", "seg-CMB_dseg.nii.gz", "seg-CMB_dseg.tsv"):
        (anat / f"{start}_{name}").write_bytes((truth / f"{start}_{name}").read_bytes())
    nib.save(nib.Nifti1Image(np.zeros(scan.shape, np.float32), scan.affine), anat / f"{start}_label-CMB_probseg.nii.gz")
    (anat / f"{start}_seg-CMBcandidates_dseg.tsv").write_text("index\tname\tstatus\treason\tx_mm\ty_mm\tz_mm\n")
    metadata = json.loads((bids / participant / session / "anat" / f"{stem}_T2starw.json").read_text())
    spacing = [float(mm) for mm in scan.header.get_zooms()]
    inputs = {"T2starw": {"path": f"{stem}_T2starw.nii.gz", "spacing": spacing, "metadata": metadata}}
    (out / "logs" / f"{stem}_summary.json").write_text(json.dumps({"inputs": inputs, "warnings": []}))
    (out / "logs" / f"{stem}_done.json").write_text("{}")
    return pd.read_csv(truth / f"{start}_seg-CMB_dseg.tsv", sep="\t").set_index("source")


@pytest.fixture(scope="module", params=SETS)
def compared(request, tmp_path_factory):
    """Truth of both visits by participant, rows of both tables, and the folder."""
    participants, visits = SETS[request.param]
    bids, out = (tmp_path_factory.mktemp("visits") / name for name in ("bids", "out"))
    plan = DatasetPlan(participants, (2,), seed=11, lesions=(4, 6), mimic_load=0.05, visits=visits)
    write_dataset(bids, [make_toy_head()], plan)
    names = [f"sub-{n + 1:02d}" for n in range(participants)]
    truth = {name: [as_app_output(bids, out, name, f"ses-{n:02d}") for n in (1, 2)] for name in names}
    labels = [name.removeprefix("sub-") for name in names]
    assert workbench.main(["visits", str(out), "--anti-amyloid", *labels]) == 0
    tables = {}
    for table in ("visits", "changes"):
        with open(out / "phenotype" / f"microbleeds_{table}.tsv", newline="") as stream:
            tables[table] = list(csv.DictReader(stream, delimiter="\t"))
    return request.param, truth, tables, out


@pytest.mark.slow
def test_new_stable_and_vanished_microbleeds_are_counted_right_in_every_participant(compared):
    _, truth, tables, _ = compared
    assert [row["participant_id"] for row in tables["visits"]] == sorted(truth)
    for row in tables["visits"]:
        before, after = (set(table.index) for table in truth[row["participant_id"]])
        assert row["registration_passed"] == "true"
        counts = {key: int(row[f"n_{key}"]) for key in ("before", "after", "stable", "new", "not_seen_again")}
        assert counts == {
            "before": len(before),
            "after": len(after),
            "stable": len(before & after),
            "new": len(after - before),
            "not_seen_again": len(before - after),
        }
        assert counts["new"] >= 1
        assert counts["not_seen_again"] >= 1
        assert (row["n_uncertain_new"], row["n_uncertain_not_seen_again"]) == ("0", "0")
        assert row["aria_h_class"] == aria_h_class(len(after - before))


@pytest.mark.slow
def test_each_microbleed_is_paired_with_itself(compared):
    _, truth, tables, _ = compared
    for row in tables["changes"]:
        before, after = (table.reset_index().set_index("name")["source"] for table in truth[row["participant_id"]])
        if row["status"] == "stable":
            assert before[row["lesion_before"]] == after[row["lesion_after"]]
            assert float(row["distance_mm"]) < 2
        elif row["status"] == "new":
            assert after[row["lesion_after"]] not in set(before)
        else:
            assert row["status"] == "not_seen_again"
            assert before[row["lesion_before"]] not in set(after)


@pytest.mark.slow
def test_the_one_that_has_grown_has_the_largest_change_and_other_slices_are_named(compared):
    which, truth, tables, out = compared
    for row in tables["visits"]:
        changed = row["acquisition_changed"]
        page = (out / f"{row['participant_id']}_visits.html").read_text()
        if which == "other slices":
            assert "slice spacing (mm) 3, then 2" in changed
            assert "The scans differ" in page
            continue
        assert changed == "n/a"
        first, second = truth[row["participant_id"]]
        common = first.index.intersection(second.index)
        radii = second.loc[common, "radius_mm"] / first.loc[common, "radius_mm"]
        grown = radii.idxmax()
        if radii[grown] < 1.1:  # the one that grew was seen at one visit only
            continue
        ratios = {
            r["lesion_after"]: float(r["volume_ratio"])
            for r in tables["changes"]
            if r["participant_id"] == row["participant_id"] and r["status"] == "stable"
        }
        assert ratios[second.loc[grown, "name"]] > 1.2
