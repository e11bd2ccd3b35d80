"""Do windows keep their references when a read leaves out those that no window has?"""

from __future__ import annotations

import numpy as np
import pytest

from polars_rasteret.plan.windows import used_references


@pytest.mark.parametrize("n_used", [1, 40, 1_400, 3_000])
def test_each_window_keeps_its_reference(n_used):
    references = [object() for _ in range(3_000)]
    rng = np.random.default_rng(n_used)
    index = rng.choice(3_000, n_used, replace=False)[rng.integers(0, n_used, 5_000)]
    index[::7] = -1
    used, at = used_references(references, index)
    assert [None if one < 0 else used[one] for one in at] == [None if one < 0 else references[one] for one in index]
    assert len(used) == (len(np.unique(index)) - 1 if n_used < 1_500 else 3_000)
