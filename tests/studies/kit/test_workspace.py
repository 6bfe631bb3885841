"""Steps of a study: in order, and side by side where they stand apart."""

from __future__ import annotations

import os

from permgrad.files import read_json
from permgrad.parallel import workers
from studies.kit import Apart, Workspace

# Sent by value: a process need not import this file.
square = lambda x, *, times=1: {"value": times * x * x, "pid": os.getpid()}  # noqa: E731


def test_steps_apart_are_done_in_processes_and_the_others_here_with_all_before_them(tmp_path):
    def steps(*numbers: int):
        apart = {f"square/{x}": Apart(square, x, times=2) for x in numbers}
        return {**apart, "sum": lambda earlier: {"value": sum(step["value"] for step in earlier.values())}}

    plain = Workspace(tmp_path / "plain", tmp_path, "test").run(steps(1, 2, 3))
    there = Workspace(tmp_path / "there", tmp_path, "test")
    with workers(2):
        done = there.run(steps(1, 2, 3))
    assert [*done] == [*plain] == ["square/1", "square/2", "square/3", "sum"]
    assert [step["value"] for step in done.values()] == [step["value"] for step in plain.values()] == [2, 8, 18, 28]
    here = {os.getpid()}
    assert {plain[name]["pid"] for name in ("square/1", "square/2")} == here
    assert here.isdisjoint(done[name]["pid"] for name in ("square/1", "square/2", "square/3"))
    assert read_json(tmp_path / "there/steps/square/3.json", kind="test")["step_seconds"] >= 0
    with workers(2):  # what is there is not done again; a step alone is done here
        again = there.run(steps(1, 2, 3, 4))
    assert again["square/1"] == done["square/1"]
    assert again["square/4"]["pid"] == os.getpid()
