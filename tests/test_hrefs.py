"""Does what is shown of an href hold scheme, host and path, and never more?"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from polars_rasteret.hrefs import shown, shown_text

SECRET = "k3yC4NARY"
SCHEMES = ["https", "HTTP", "s3", "gs", "az", "abfss", "memory", "x-own+v2"]
NAMES = ["sig", "X-Amz-Signature", "versionId", "whatever", "S%69g", ""]
names = st.text("abcXYZ019-_.~ äö", min_size=1, max_size=8)


@st.composite
def urls_with_a_secret(draw):
    """A URL with the secret in its query, its user information, its fragment, or in a query that is written oddly."""
    scheme, host = draw(st.sampled_from(SCHEMES)), draw(st.sampled_from(["a.com", "127.0.0.1:80", "[::1]:8080", "box"]))
    path = "/".join(draw(st.lists(names, max_size=3)))
    user, tail = "", ""
    where = draw(st.sampled_from(["query", "user", "password", "fragment", "escaped", "matrix"]))
    value = draw(st.sampled_from([SECRET, f"a%2Fb{SECRET}", f"{SECRET}?x#y", f"x/{SECRET}=="]))
    name = draw(st.sampled_from(NAMES))
    if where == "user":
        user = f"{SECRET}@"
    elif where == "password":
        user = f"me:{draw(st.sampled_from(['', 'pa/', 'a:b', '@']))}{SECRET}@"
    elif where == "query":
        tail = f"?a=1&{name}={value}"
    elif where == "escaped":
        tail = f"%3F{name}%3D{SECRET}"
    elif where == "fragment":
        tail = f"#{name}={value}"
    else:
        tail = f";{name or 's'}={SECRET}/more"
    slashes = draw(st.sampled_from(["://", "://", ":/", ":\\\\", ":///"]))
    around = draw(st.sampled_from(["{}", "{}", "/vsicurl/{}", " {}"]))
    return around.format(f"{scheme}{slashes}{user}{host}/{path}{tail}")


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(urls_with_a_secret())
@example(f"az://{SECRET}@a.com/")
@example(f"//me:{SECRET}@host/a.tif")
@example(f"me:{SECRET}@host/a.tif")
@example(f"data/a.tif?sig={SECRET}")
@example(f"file:///data/a.tif?sig={SECRET}")
@example(f"https://cdn.com/exp=1~hmac={SECRET}/a.tif")
@example(f"https://objectstorage.eu.oraclecloud.com/p/{SECRET}0123456789abc/n/me/b/box/o/a.tif")
def test_no_part_that_may_be_a_key_is_shown(url):
    assert SECRET not in shown(url)
    assert SECRET not in shown_text(f"GET {url} failed: '{url}'", url)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(
        ["https://a.com/", "https://a.com:8443/", "s3://box/", "/data/", "file:///data/", "data/", "C:\\data\\"]
    ),
    st.lists(st.text("abcXYZ019-_.~ äö+,@", min_size=1, max_size=8), min_size=1, max_size=4),
)
def test_an_href_without_such_parts_is_shown_as_it_is(root, segments):
    href = root + "/".join(segments)
    assert shown(href) == href


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("https://me:pass@a.com/x/b.tif?versionId=3", "https://a.com/x/b.tif?..."),
        ("s3://box/a#1.tif", "s3://box/a#1.tif"),
        ("s3://key:secret@box/a.tif", "s3://box/a.tif"),
        ("abfss://box@account.dfs.core.windows.net/a.tif", "abfss://box@account.dfs.core.windows.net/a.tif"),
        ("s3://box/year=2024/month=05/a.tif", "s3://box/year=2024/month=05/a.tif"),
        ("file:///data/a#b?c d.tif", "file:///data/a#b?c d.tif"),
        ("https://me:pa/ss@a.com/x", "https://..."),
        ("https://a.com/" + "x" * 70_000, "https://a.com/" + "x" * 386 + "..."),
    ],
)
def test_what_is_shown_of(href, expected):
    assert shown(href) == expected
