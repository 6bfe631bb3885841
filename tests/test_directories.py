"""A directory of results is whole at every moment, has one writer, and holds nobody else's files."""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import permgrad as pg
from permgrad import directories
from permgrad.directories import MANIFEST, move_into, new_directory


def write(
    path: Path, content: str, names: tuple[str, ...] = ("ranking.json", "model/network.keras"), **options
) -> None:
    with new_directory(path, **options) as staging:
        for name in names:
            (staging / name).parent.mkdir(exist_ok=True)
            (staging / name).write_text(content)


def tree(path: Path) -> dict[str, str]:
    """Return name → text of all files below, but manifests; of directories without files, too."""
    files = {p.relative_to(path).as_posix(): p.read_text() if p.is_file() else "" for p in path.rglob("*")}
    return {name: text for name, text in files.items() if not name.endswith(MANIFEST)}


def whole(content: str) -> dict[str, str]:
    return {"ranking.json": content, "model": "", "model/network.keras": content}


def test_it_appears_only_when_whole(tmp_path):
    out = tmp_path / "deep" / "out"
    with new_directory(out) as staging:
        (staging / "a").write_text("x")
        assert not out.exists()
    assert tree(out) == {"a": "x"}
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    plain = tmp_path / "plain"
    plain.mkdir()
    assert out.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("exchange", [True, False])
def test_it_is_replaced_as_a_whole(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(directories.ctypes, "CDLL", lambda *a, **k: object())
    write(tmp_path / "out", "old", names=("ranking.json", "no longer"))
    write(tmp_path / "out", "new", overwrite=True)
    assert tree(tmp_path) == {"out": "", **{f"out/{name}": text for name, text in whole("new").items()}}


def test_what_fails_half_way_leaves_what_was_there(tmp_path):
    write(tmp_path / "out", "old")
    with pytest.raises(RuntimeError), new_directory(tmp_path / "out", overwrite=True) as staging:
        (staging / "new").write_text("lost")
        raise RuntimeError
    assert tree(tmp_path / "out") == whole("old")
    with pytest.raises(RuntimeError), new_directory(tmp_path / "a" / "b" / "c"):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("number", range(20))
def test_files_that_we_did_not_write_are_never_lost(tmp_path, number):
    """Foreign files at random places and names, ours among them, in our directories and in others."""
    rng = random.Random(number)  # noqa: S311
    out = tmp_path / "out"
    if rng.random() < 0.7:
        write(out, "ours")
    names = [
        "thesis.txt",
        "ranking.json",
        "estimator.json",
        "model/notes.md",
        "empty/",
        ".hidden",
        "a/b/c",
        "manifest.json",
    ]
    foreign = {}
    for name in rng.sample(names, rng.randint(1, 4)):
        target = out / name
        if name.endswith("/"):
            target.mkdir(parents=True)
        elif not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("mine")
        else:
            continue
        foreign[name] = target
    before = tree(out)
    if foreign:
        with pytest.raises(pg.PermGradError, match="permgrad did not write") as error:
            write(out, "new", overwrite=True)
        assert "\n" not in str(error.value)
        assert any(name.rstrip("/") in str(error.value) for name in foreign)
        assert tree(out) == before
    else:
        write(out, "new", overwrite=True)
        assert tree(out) == whole("new")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_manifest_vouches_for_nothing_when_damaged(tmp_path):
    write(tmp_path / "out", "old")
    (tmp_path / "out" / MANIFEST).write_text("{")
    with pytest.raises(pg.PermGradError, match="did not write"):
        write(tmp_path / "out", "new", overwrite=True)


def test_the_working_directory_and_the_tables_are_kept(tmp_path, monkeypatch):
    write(tmp_path / "out", "old", names=("ranking.json", "table.csv"))
    with pytest.raises(pg.PermGradError, match=r"holds '.*table.csv', which is in use"):
        write(tmp_path / "out", "new", overwrite=True, protected=[tmp_path / "out" / "table.csv"])
    (tmp_path / "out" / "model").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    for place in (".", "..", tmp_path / "out"):
        with pytest.raises(pg.PermGradError, match="the working directory, or one above"):
            write(Path(place), "new", overwrite=True)
    assert tree(tmp_path / "out") == {"ranking.json": "old", "table.csv": "old", "model": ""}


def test_a_file_that_comes_while_it_is_replaced_is_kept(tmp_path, monkeypatch):
    write(tmp_path / "out", "old")
    check = directories._check_replaceable
    calls = []

    def late(path, *rest):
        check(path, *rest)
        calls.append(path)
        if len(calls) == 3:  # the last look before the exchange
            (path / "mine.txt").write_text("mine")

    monkeypatch.setattr(directories, "_check_replaceable", late)
    write(tmp_path / "out", "new", overwrite=True)
    assert tree(tmp_path / "out") == {**whole("new"), "mine.txt": "mine"}


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_place_that_is_taken_meanwhile_costs_no_results(tmp_path, overwrite):
    out = tmp_path / "out"
    with (
        pytest.raises(pg.PermGradError, match="the new results are in .*out-1"),
        new_directory(out, overwrite=overwrite) as staging,
    ):
        (staging / "ranking.json").write_text("new")
        out.mkdir()
        (out / "ranking.json").write_text("mine")
    assert tree(tmp_path) == {"out": "", "out/ranking.json": "mine", "out-1": "", "out-1/ranking.json": "new"}


def test_the_second_of_two_runs_is_told(tmp_path):
    hold = (
        "import sys, time; from permgrad.directories import new_directory\n"
        "with new_directory(sys.argv[1]) as staging:\n"
        "    (staging / 'a').write_text('first'); print('in', flush=True); sys.stdin.read()"
    )
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout.readline() == "in\n"
        with pytest.raises(pg.PermGradError, match=f"process {first.pid} on .* is writing .*out"):
            write(out, "second")
        first.stdin.close()
    assert first.returncode == 0
    assert tree(tmp_path) == {"out": "", "out/a": "first"}


def killed_at(step: int, after: bool, out: Path, exchange: bool) -> bool:
    """Replace `out` in a child process that dies at its renaming number `step`; tell whether it came so far."""
    child = os.fork()
    if child == 0:
        count = 0

        def dying(rename):
            def renamed(*arguments):
                nonlocal count
                if count == step and not after:
                    os._exit(9)
                result = rename(*arguments)
                if count == step and after:
                    os._exit(9)
                count += 1
                return result

            return renamed

        class Libc:
            renameat2 = staticmethod(dying(ctypes.CDLL(None, use_errno=True).renameat2))

        os.rename, os.replace = dying(os.rename), dying(os.replace)
        directories.ctypes.CDLL = lambda *a, **k: Libc if exchange else object()
        try:
            write(out, "new", overwrite=True)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("existing", [True, False])
def test_killed_at_each_renaming_it_is_whole_and_the_next_run_cleans_up(tmp_path, exchange, after, existing):
    out = tmp_path / "out"
    for step in range(20):
        if existing and not out.exists():
            write(out, "old")
        came_so_far = killed_at(step, after, out, exchange)
        if exchange or not existing:  # without an exchange there is a moment between two renamings
            assert not out.exists() if not existing and not out.exists() else tree(out) in (whole("old"), whole("new"))
        write(tmp_path / "other", "x", overwrite=True)  # another run does not mind
        write(out, "again", overwrite=True)
        assert tree(out) == whole("again")
        assert {path.name for path in tmp_path.iterdir()} == {"out", "other"}
        if not came_so_far:
            break
        if not existing:
            directories.shutil.rmtree(out)
        else:
            write(out, "old", overwrite=True)
    assert 3 <= step < 20


def test_what_a_dead_process_had_taken_away_comes_back(tmp_path):
    """Without an exchange, a death between the two renamings leaves no directory until the next run begins."""
    out, absent = tmp_path / "out", 0
    for step in range(8):
        write(out, "old", overwrite=True)
        killed_at(step, True, out, exchange=False)
        if not out.exists():
            absent += 1
            with pytest.raises(RuntimeError), new_directory(out, overwrite=True):
                assert tree(out) == whole("old")
                raise RuntimeError
            assert tree(out) == whole("old")
    assert absent == 1


def test_files_are_moved_into_a_directory_beside_those_of_others(tmp_path):
    out, more = tmp_path / "out", tmp_path / "more"
    write(out, "old", names=("ranking.json", "report.html"))
    (out / "thesis.txt").write_text("mine")
    for content in ("first", "second"):
        (more / "evaluation").mkdir(parents=True)
        (more / "report.html").write_text(content)
        (more / "evaluation" / "curves.csv").write_text(content)
        move_into(more, out)
        directories.shutil.rmtree(more)
    files = {"ranking.json": "old", "report.html": "second", "evaluation": "", "evaluation/curves.csv": "second"}
    assert tree(out) == {**files, "thesis.txt": "mine"}
    more.mkdir()
    (more / "thesis.txt").write_text("ours")
    (more / "report.html").write_text("third")
    with pytest.raises(pg.PermGradError, match="did not write: 'thesis.txt'"):
        move_into(more, out)
    assert tree(out) == {**files, "thesis.txt": "mine"}


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    for path, message in [
        (tmp_path / "file", "found a file"),
        (tmp_path / "file" / "below", "cannot write"),
        ("/proc/nowhere/out", "cannot write"),
    ]:
        with pytest.raises(pg.PermGradError, match=message), new_directory(path):
            pass
    assert (tmp_path / "file").read_text() == "x"


def test_a_full_disk_is_one_line(tmp_path):
    with pytest.raises(pg.PermGradError, match="No space left on device; make room"), new_directory(tmp_path / "out"):
        raise OSError(28, os.strerror(28))
    assert list(tmp_path.iterdir()) == []


def test_space_is_looked_at_before_any_work(tmp_path):
    with (
        pytest.raises(
            pg.PermGradError, match="results need about 1,000,000,000,000 MB, the disk of .* MB left; make room"
        ),
        new_directory(tmp_path / "deep" / "out", needs=10**18),
    ):
        raise AssertionError
    assert list(tmp_path.iterdir()) == []


def test_a_study_is_never_replaced(tmp_path):
    write(tmp_path / "out", "{}", names=("study.json",))
    with pytest.raises(pg.PermGradError, match="holds a tuning study"):
        write(tmp_path / "out", "new", overwrite=True)


def test_another_process_id_is_no_owner(tmp_path):
    """A process number that is used again is not the process that died."""
    with new_directory(tmp_path / "out") as staging:
        owner = directories._owner(staging.parent)
        assert directories._is_alive(owner)
        assert not directories._is_alive({**owner, "created": time.time() - 1e6})
        assert not directories._is_alive({**owner, "pid": 2**22 + 1})
        assert directories._is_alive({**owner, "pid": 2**22 + 1, "host": "elsewhere"})
