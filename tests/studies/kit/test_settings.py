from __future__ import annotations

import pytest

import permgrad as pg
from studies.kit.settings import Settings, read_settings


class Network(Settings):
    units: tuple[int, ...]
    rate: float
    name: str = "mlp"


class Whole(Settings):
    network: Network
    random_state: int


GOOD = "network: {units: [8, 4], rate: 1e-3}\nrandom_state: 3\n"


@pytest.fixture
def read(tmp_path):
    def reader(text: str, *overrides: str) -> Whole:
        path = tmp_path / "settings.yaml"
        path.write_text(text)
        return read_settings(Whole, path, overrides)

    return reader


def test_values_and_overrides(read):
    found = read(GOOD)
    assert found == Whole(network=Network(units=(8, 4), rate=0.001), random_state=3)
    changed = read(
        GOOD, "network.rate=2", "network.units=[1]", "random_state=4", "random_state=5", "network.name=other"
    )
    assert changed == Whole(network=Network(units=(1,), rate=2.0, name="other"), random_state=5)
    assert read("{}", "network.units=[]", "network.rate=.5", "random_state=0").network.rate == 0.5


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (GOOD + "randomstate: 4", [], "settings.yaml: randomstate: unknown key"),
        (GOOD, ["network.droput=0.3"], "network.droput: unknown key"),
        (GOOD, ["other.key=1"], "other: unknown key"),
        ("random_state: 3\nnetwork: {units: [1]}", [], "network.rate: missing"),
        (GOOD, ["network.rate=fast"], "network.rate: input should be a valid number, got 'fast'"),
        (GOOD, ["network.units=[8, 2.5]"], r"network.units.1: input should be a valid integer.*got 2.5"),
        (GOOD, ["random_state='3'"], "random_state: input should be a valid integer, got '3'"),
        (GOOD, ["random_state=true"], "random_state: input should be a valid integer, got True"),
        (GOOD, ["network=3"], "network: input should be an object, got 3"),
        (GOOD, ["random_state.x=3"], "random_state.x: random_state is a value and has no keys"),
        (GOOD, ["network.rate=.inf"], "network.rate: input should be a finite number"),
        (GOOD, ["random_state"], "expected <dotted key>=<value>.*got 'random_state'"),
        (GOOD, ["random_state=[1"], "random_state: no valid YAML"),
        (GOOD + "random_state: 4", [], "key 'random_state' is given twice"),
        ("- 1", [], "must hold keys and values, found list"),
        ("a: [", [], "no valid YAML"),
        ("network: {units: [1], rate: x}\nrandom_state: y", [], r"network.rate: .* \(and 1 more\)"),
    ],
)
def test_errors_are_one_line_with_the_keys_path(read, text, overrides, message):
    with pytest.raises(pg.PermGradError, match=message) as raised:
        read(text, *overrides)
    assert "\n" not in str(raised.value)


def test_absent_file(tmp_path):
    with pytest.raises(pg.PermGradError, match="cannot read .*nothing.yaml: No such file"):
        read_settings(Whole, tmp_path / "nothing.yaml")
