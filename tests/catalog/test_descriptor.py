"""Is a descriptor of a dataset checked when it is made, field by field?"""

from __future__ import annotations

import pickle

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.catalog.descriptor import _CHECKS, FIELDS
from polars_rasteret.errors import UsageError

GOOD = {
    "id": "mine/scenes",
    "title": "Scenes",
    "api": "https://stac.example.org/v1",
    "collection": "scenes",
    "bands": {"red": "B04", "nir": ("image", 3)},
}


def made(**changed):
    return pr.DatasetDescriptor(**{**GOOD, **changed})


def test_every_field_has_a_check():
    assert set(FIELDS) == {"id", *_CHECKS}


def test_a_descriptor_survives_pickling_and_equals_one_of_the_same_facts():
    one = made(
        clear={"band": "red", "bits": [{"first": 1, "count": 3, "equals": 0}]}, rules=[{"bands": ["*"], "nodata": 0}]
    )
    assert pickle.loads(pickle.dumps(one)) == one
    assert one != made()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"id": "two  words"}, "dataset id is 'two  words'"),
        ({"id": "a--b"}, "dataset id"),
        ({"title": " "}, "field 'title': expected a title"),
        ({"api": "stac.example.org"}, "field 'api': expected a URL"),
        ({"api": "https://me:pass@stac.example.org/v1"}, "may hold a key"),
        ({"api": None, "table": "https://a.org/t.parquet?sig=abcdefgh"}, "may hold a key"),
        ({"api": None}, "nothing says where it is catalogued"),
        ({"path": "/data/scenes"}, "api and path both say"),
        ({"collection": None}, "field 'collection': a STAC API has many"),
        ({"bands": {}}, "field 'bands': expected at least one"),
        ({"bands": {"red": 4}}, "field 'bands': band 'red' is 4; expected asset, index"),
        ({"bands": {"red": ("image", -1)}}, "field 'bands': index is -1"),
        ({"bands": {"red": {"asset": "image", "place": 1}}}, "field 'bands': band 'red' has place"),
        ({"bands": {"red": {"index": 1}}}, "field 'bands': band 'red' is {'index': 1}, which lacks"),
        ({"columns": {"time": "t"}}, "field 'columns': time is no record column"),
        ({"alternate": ""}, "field 'alternate'"),
        ({"auth": "secret"}, "field 'auth': expected one of 'none', "),
        ({"requires_account": 1}, "field 'requires_account': expected true or false"),
        ({"regions": {"s3://a": "eu"}}, "field 'regions'"),
        ({"rewrite": {"https://a.org/": "https://b.org/?token=abcdefgh"}}, "field 'rewrite'"),
        ({"temporal_extent": ["2020", ""]}, "field 'temporal_extent': expected a day"),
        ({"temporal_extent": ["2021-01-01", "2020-01-01"]}, "ends before it starts"),
        ({"spatial_extent": [0, 0, 400, 1]}, "field 'spatial_extent'"),
        ({"example_bbox": [0, 0, 1]}, "field 'example_bbox'"),
        ({"clear": {"band": "SCL", "values": [4]}}, "field 'clear': band 'SCL' is none of red, nir"),
        ({"clear": {"band": "red"}}, "field 'clear': expected either values or bits"),
        ({"clear": {"band": "red", "bits": [{"first": 0, "equals": 2}]}}, "1 bit(s) hold 0 to 1"),
        ({"clear": {"band": "red", "values": "45"}}, "field 'clear': values is '45'"),
        ({"rules": [{"bands": ["*"]}]}, "field 'rules': the rule states nothing"),
        ({"rules": [{"bands": ["*"], "scale": "1"}]}, "field 'rules': scale is '1'"),
        ({"rules": [{"bands": ["*"], "scale": 1, "property": "v"}]}, "belong together"),
        ({"rules": [{"bands": ["*"], "scale": 1, "property": "v", "at_least": "new"}]}, "expected a version"),
        ({"notes": "one"}, "field 'notes'"),
        ({"api": None, "data": "s3://a/data"}, "data and index belong together"),
    ],
)
def test_a_wrong_field_is_named_with_its_dataset(changed, words):
    with pytest.raises(UsageError) as caught:
        made(**changed)
    assert words in str(caught.value)
    assert "id" in changed or "dataset 'mine/scenes'" in str(caught.value)
    assert "abcdefgh" not in str(caught.value)
    assert "pass" not in str(caught.value)


def test_a_rule_of_bits_is_true_where_the_bits_have_their_number():
    quality = pl.DataFrame({"red": pl.Series([0b0000, 0b1110, 0b0001, 0b0100, None], dtype=pl.UInt8)})
    rule = made(clear={"band": "red", "bits": [{"first": one, "equals": 0} for one in (1, 2, 3)]}).clear
    assert quality.select(rule.expression).to_series().to_list() == [True, False, True, False, None]
    rule = made(clear={"band": "red", "bits": [{"first": 1, "count": 3, "equals": 7}]}).clear
    assert quality.select(rule.expression).to_series().to_list() == [False, True, False, False, None]
