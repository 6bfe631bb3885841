"""What a notebook shows of a study, whose trials are made up."""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial

from permgrad.tuning.result import TuneResult


def test_the_best_trial_stands_first_and_text_is_text(monkeypatch):
    study = optuna.create_study(direction="minimize")
    for value, state in ((3.0, "COMPLETE"), (1.0, "COMPLETE"), (None, "FAIL"), (2.0, "COMPLETE")):
        known = {"params": {"<layer>": "<b>"}, "distributions": {"<layer>": CategoricalDistribution(["<b>"])}}
        study.add_trial(create_trial(state=TrialState[state], value=value, **known))
    monkeypatch.setattr("permgrad.tuning.checkpoints.best_trials", lambda study, n: [study.best_trial])
    result = TuneResult(study, Path(), ("loss",), None, None, None)
    shown = result._repr_html_()
    assert "4 trials, the best loss 1" in shown
    assert "<b>" not in shown
    assert [line.split("</td>")[0] for line in shown.split("<tr>\n      <td>")[1:]] == ["1", "3", "0", "2"]
    assert result.table.equals(result.trials)
    assert result.plot().axes
