"""Does every part of a query end at a store that allows fewer requests a second than its workers make one at a time?"""

from __future__ import annotations

import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from tests.support.fault_plans import RateLimit
from tests.support.part_queries import notes
from tests.support.range_server import RangeServer
from tests.support.small_archive import BANDS
from tests.support.workloads import EACH_TILE_ALONE


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("latency_s", [0.001, 0.015])
def test_eight_worker_processes_at_sixty_requests_a_second_end_every_part(archive, tmp_path, latency_s, status):
    """No part is tried twice, and requests have the retries that are the default."""
    points = archive.points(3000)
    into, keys = tmp_path / "out", ["row", "col", "record_id"]
    with RangeServer(archive.files, latency_s=latency_s) as server:
        records = archive.records(server.origin + "/").collect().lazy()
        with pr.options(**EACH_TILE_ALONE):
            query = records.raster.sample_points(points, list(BANDS), crs="native", record_columns=["id"])
        with pr.ProcessEngine(workers=8, min_parts=32, retries=0) as engine:
            server.fault = limit = RateLimit(60, status=status)
            found = pr.run(query, into=into, engine=engine).collect().select(*keys, *BANDS)
    assert_frame_equal(found.sort(keys), archive.sampled(points).sort(keys))
    assert len(notes(into)) >= 32
    assert notes(into, "failed") == []
    assert limit.n_served == 512
    assert limit.n_refused <= 3 * limit.n_served
