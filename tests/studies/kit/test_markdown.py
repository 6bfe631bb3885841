from __future__ import annotations

import pandas as pd

from studies.kit.markdown import markdown


def test_by_hand():
    table = pd.DataFrame({"a": ["x|y", None], "b": [0.123456, float("nan")], "n": pd.array([3, None], "Int64")})
    assert markdown(table, 2) == "| a | b | n |\n| --- | --- | --- |\n| x\\|y | 0.12 | 3 |\n|  |  |  |"
