import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mbseg_bids.errors import NothingSelectedError, UsageError
from mbseg_bids.evaluation.patch import PatchScores
from mbseg_bids.learning.examples.patch_set import PatchSet
from mbseg_bids.learning.stages.initial import Start
from mbseg_bids.learning.stages.stage import Sets
from mbseg_bids.learning.study import figures as study_figures
from mbseg_bids.learning.study import runs as study
from mbseg_bids.learning.study.plan import BASE, Plan
from mbseg_bids.learning.training.interruption import TrainingStoppedError

SMALL = Plan(
    values={"freeze": (0, 5), "rate": (0.006, 0.01), "rotations": (0, 4)},
    repetitions=2,
    steps=3,
    input_size=16,
    score_patches=4,
    note="invented patches",
)


@pytest.fixture
def sets(dark_patches):
    of = dark_patches.participants
    return Sets(*(dark_patches.select(np.isin(of, members)) for members in ((0, 1, 2, 3), (4,), (5,))))


@pytest.fixture
def small_network(monkeypatch, tiny_network):
    monkeypatch.setattr(study, "starting_network", lambda source, seed: Start(tiny_network(seed), source))


def quiet(_):
    pass


def test_the_full_study_is_the_paper_s():
    runs = Plan().runs()
    # 5 + 5 + 5 + 5 + 7 values, of which the base value is one of each factor: one training serves all five.
    assert len(runs) == (27 - 4) * 5
    assert Plan().scale == "full"
    assert {r.patch for r in runs} == {14, 28, 52, 56, 70}
    changed = [sum(getattr(r, f) != v for f, v in BASE.items()) for r in runs]
    assert sorted(set(changed)) == [0, 1]
    settings = Plan().settings(runs[0])
    assert (settings.epochs, settings.steps, settings.input_size, settings.momentum) == (10, None, 224, 0.9)


def test_what_is_less_than_the_paper_s_is_said():
    assert SMALL.scale == (
        "reduced: 3 mini-batches a run, input 16 px, 2 repetitions, scored on 4 patches of a kind, fewer values; "
        "invented patches"
    )
    assert Plan(epochs=2).scale == "reduced: 2 epochs"
    assert Plan(repetitions=9).scale == "full"


def test_shards_share_all_runs_and_none_twice(monkeypatch, sets, small_network, tmp_path):
    done = []

    def train_stage(sets, settings, folder, **_):
        folder.mkdir(parents=True)
        done.append(folder.name)
        return None, *[PatchScores(8, 0.5, 0.5, 0.5, 0.5)] * 2

    monkeypatch.setattr(study, "train_stage", train_stage)
    for k in (1, 2, 3):
        study.run_study(SMALL, sets, tmp_path, shard=(k, 3), report=quiet)
        assert len(done) == [3, 6, 8][k - 1]
    assert sorted(done) == sorted(r.name for r in SMALL.runs())
    assert study.run_study(SMALL, sets, tmp_path, report=quiet) == 0


def test_a_study_goes_on_where_it_was_stopped_and_ends_alike(sets, small_network, tmp_path):
    class StopAfter:
        left = 7

        @property
        def reason(self):
            self.left -= 1
            return "SIGTERM" if self.left < 0 else None

    with pytest.raises(TrainingStoppedError):
        study.run_study(SMALL, sets, tmp_path / "a", stop=StopAfter(), report=quiet)
    before = {p.name: p.read_bytes() for p in (tmp_path / "a" / "runs").iterdir()}
    assert 0 < len(before) < 8
    assert study.run_study(SMALL, sets, tmp_path / "a", report=quiet) == 8 - len(before)
    assert all((tmp_path / "a" / "runs" / name).read_bytes() == content for name, content in before.items())
    study.run_study(SMALL, sets, tmp_path / "b", report=quiet)
    tables = [study.collect(tmp_path / name)[0].drop(columns="seconds") for name in "ab"]
    pd.testing.assert_frame_equal(*tables)
    assert len(tables[0]) == 3 * 2 * 2 * 2
    assert tables[0]["scale"].unique().tolist() == [SMALL.scale]
    assert not list((tmp_path / "a" / "work").iterdir())


def invented_results(out):
    """Accuracy is 0.9 for the base, and 0.01 less for each repetition; the first run (freeze 0) is missing."""
    study._claim(out, SMALL, Sets(*[PatchSet(np.empty((0, 3, 42, 42)), *[np.empty(0)] * 3)] * 3))
    for run in SMALL.runs()[1:]:
        value = 0.9 - 0.01 * run.repetition - 0.1 * (run.rate == 0.01) + 0.02 * (run.rotations == 4)
        scores = {"accuracy": value, "sensitivity": value - 0.1, "specificity": value + 0.05, "auc": 0.97}
        content = {"run": {}, "seconds": 2.0, "scores": {"validation": scores, "test": scores}}
        study.write_whole(study._result_path(out, run), json.dumps(content))


def test_the_table_is_tidy_and_says_what_is_missing(tmp_path):
    invented_results(tmp_path)
    table, missing = study.collect(tmp_path)
    assert missing == 1
    columns = ["factor", "value", "repetition", "set", "accuracy", "sensitivity", "specificity", "auc", "seconds"]
    assert list(table) == [*columns, "scale"]
    faster = table[(table["factor"] == "rate") & (table["value"] == 0.01)]
    assert sorted(set(faster["accuracy"])) == [0.79, 0.8]
    assert len(faster) == 4
    means = study.summarise(table)
    assert means["factor"].tolist() == ["freeze", "freeze", "rate", "rate", "rotations", "rotations"]
    assert means["test_accuracy"].tolist() == pytest.approx([0.89, 0.895, 0.895, 0.795, 0.895, 0.915])
    assert means["validation_sensitivity"].tolist() == pytest.approx([0.79, 0.795, 0.795, 0.695, 0.795, 0.815])


def test_figures_show_the_means_and_the_scale(tmp_path):
    invented_results(tmp_path)
    table, _ = study.collect(tmp_path)
    figure = study_figures.accuracy_figure(table)
    assert SMALL.scale in figure.get_suptitle()
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["Frozen layers", "Learning rate"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.890", "0.895"] * 2
    assert [text.get_text() for text in figure.axes[1].texts] == ["0.895", "0.795"] * 2
    lines = study_figures.rotation_figure(table).axes[0].containers
    np.testing.assert_allclose(np.asarray(lines[0][0].get_ydata(), float), [0.895, 0.915])
    written = study_figures.write_figures(table, tmp_path / "one")
    again = study_figures.write_figures(table, tmp_path / "two")
    assert [p.name for p in written] == ["study_accuracy.png", "study_rotations.png"]
    assert [p.read_bytes() for p in written] == [p.read_bytes() for p in again]


def test_a_folder_with_another_study_is_refused(tmp_path, sets, small_network):
    invented_results(tmp_path)
    with pytest.raises(UsageError, match="input_size"):
        study.run_study(replace(SMALL, input_size=32), sets, tmp_path, report=quiet)


def test_patches_too_small_for_a_value_stop_the_study_before_its_first_run(tmp_path, sets, small_network):
    plan = replace(SMALL, values={"freeze": (0, 5), "patch": (28, 56)})
    with pytest.raises(UsageError, match="--patch-size 56"):
        study.run_study(plan, sets, tmp_path, report=quiet)
    assert not (tmp_path / "study.json").exists()


def test_no_study_and_no_run_are_told_apart(tmp_path, sets):
    with pytest.raises(NothingSelectedError, match="no study"):
        study.collect(tmp_path)
    study._claim(tmp_path, SMALL, sets)
    with pytest.raises(NothingSelectedError, match="no finished run"):
        study.collect(tmp_path)
