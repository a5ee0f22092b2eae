"""The whole group level with a model, on small output trees."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from counted_cohort import cohort
from fake_output import fake_arrays, fake_summary, lesion_rows, write_session

from mbseg_bids.cli import app
from mbseg_bids.group.model_files import model_columns

LESION = lesion_rows(fake_arrays())[0]
N = 60


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Output and input folder of a cohort: one session each, two for the first participant, one without age."""
    root = tmp_path_factory.mktemp("cohort")
    out, bids = root / "out", root / "bids"
    bids.mkdir()
    generator = np.random.default_rng(1)
    people = cohort(1, n=N)
    for n, person in enumerate(people):
        label = f"{n:03d}"
        regions = generator.choice(["cortical_gm", "deep_gm"], person["n_total"])
        rows = [LESION | {"index": k + 1, "region": region} for k, region in enumerate(regions)]
        for session in ("1", "2") if n == 0 else ("1",):
            summary = fake_summary(label, session)
            summary["inputs"]["T2starw"]["metadata"]["EchoTime"] = 0.02 if n < N / 2 else 0.03
            write_session(out, label, session, summary=summary, rows=rows, images=False)
    lines = [f"{p['participant_id']}\t{p['age']}\t{p['sex']}\t{p['group']}" for p in people]
    lines[5] = re.sub(r"\t[\d.]+\t", "\tn/a\t", lines[5])
    (bids / "participants.tsv").write_text("\n".join(["participant_id\tage\tsex\tgroup", *lines]) + "\n")
    return bids, out


def group(tree, capsys, *options):
    """Run the group level; return exit code and the lines on the terminal."""
    bids, out = tree
    code = app.main([str(bids), str(out), "group", "-w", str(out.parent / "work"), *options])
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return code, said.err.strip().splitlines()


FORMULA = "count ~ age + sex + group"


def test_table_sidecar_and_page(tree, capsys):
    code, said = group(tree, capsys, "--model", FORMULA)
    assert code == 0, said
    assert any("Unlike scans are pooled: echo time" in line for line in said)
    out = tree[1]
    table = pd.read_csv(out / "phenotype" / "microbleeds_model.tsv", sep="\t", na_values="n/a", keep_default_na=False)
    assert list(table) == list(model_columns())
    main = table[table.role == "main"]
    assert main.term.tolist() == ["intercept", "age", "sex[M]", "group[patient]"]
    assert main.reference.fillna("").tolist() == ["", "", "F", "control"]
    assert set(main.n_rows) == {N - 1}
    np.testing.assert_allclose(np.exp(main.coefficient), main.rate_ratio, rtol=1e-4)
    assert ((main.rate_ratio_low < main.rate_ratio) & (main.rate_ratio < main.rate_ratio_high)).all()
    check = table[table.role == "check"]
    assert set(check.model) == {"poisson"}
    assert check.alpha_high.isna().all()
    regional = table[(table.role == "region") & (table.term != "intercept")]
    assert set(regional.outcome) == {"n_cortical_gm", "n_deep_gm"}
    assert (regional.p_adjusted >= regional.p).all()

    described = json.loads((out / "phenotype" / "microbleeds_model.json").read_text())
    assert all(described[name]["Description"] for name in table)
    model = described["Model"]
    assert model["Formula"] == FORMULA
    assert model["Excluded"] == {"no value of age": ["sub-005_ses-1"]}
    assert (model["NumberOfRows"], model["NumberOfOtherSessions"]) == (N - 1, 1)
    assert model["Dispersion"]["Alpha"] == pytest.approx(main.alpha.iloc[0], rel=1e-5)
    assert described["SoftwareVersions"]["statsmodels"]
    assert str(tree[0]) not in json.dumps(described)

    page = (out / "group.html").read_text()
    section = page[page.index('<h2 id="model">') : page.index("<h2>Where they are")]
    assert section.count('class="model-plot"') == 3  # age, sex, group
    assert "sub-005_ses-1" in section
    assert "group[patient]" in section
    assert "echo time" in section
    assert "p, Holm" in section


def test_the_same_files_give_the_same_bytes(tree, capsys):
    names = ("phenotype/microbleeds_model.tsv", "phenotype/microbleeds_model.json", "group.html")
    found = []
    for _ in range(2):
        group(tree, capsys, "--model", FORMULA, "--zero-inflated")
        found.append([(tree[1] / name).read_bytes() for name in names])
    assert found[0] == found[1]


def test_a_refused_model_is_one_line_and_leaves_tables_and_page(tree, capsys):
    group(tree, capsys, "--model", FORMULA)
    code, said = group(tree, capsys, "--model", "count ~ weight")
    assert code == 64
    assert said[-1].startswith("mbseg-bids failed: --model: the group table has no column 'weight'")
    assert (tree[1] / "phenotype" / "microbleeds.tsv").exists()
    assert not (tree[1] / "phenotype" / "microbleeds_model.tsv").exists()
    assert "No model was fitted" in (tree[1] / "group.html").read_text()


def test_without_a_model_the_page_has_none_and_an_old_one_is_removed(tree, capsys):
    group(tree, capsys, "--model", FORMULA)
    assert group(tree, capsys)[0] == 0
    assert not list((tree[1] / "phenotype").glob("*model*"))
    assert 'id="model"' not in (tree[1] / "group.html").read_text()


def test_a_formula_with_code_touches_nothing(tree, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tree[1].rglob("*") if path.is_file()}
    code, said = group(tree, capsys, "--model", "count ~ __import__('os').system('touch PWNED')")
    assert code == 64
    assert len(said) == 1
    assert {path: path.read_bytes() for path in tree[1].rglob("*") if path.is_file()} == before
    assert list(tmp_path.iterdir()) == []


def test_texts_of_the_input_cannot_become_markup(tree, capsys):
    bids = tree[0]
    table = bids / "participants.tsv"
    original = table.read_text()
    table.write_text(original.replace("patient", "<script>alert(1)</script>").replace("control", '"><svg onload=x>'))
    try:
        code, said = group(tree, capsys, "--model", "count ~ group")
        assert code == 0, said
        page = (tree[1] / "group.html").read_text()
        assert "<script>alert" not in page
        assert "<svg onload" not in page
    finally:
        table.write_text(original)
