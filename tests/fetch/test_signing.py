"""Is exactly what signs cut from an href, and does this process still read with it?"""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polars_rasteret.fetch.signing import SIGNING, as_signed, forget_keys, kept_back, keys_kept_back_in, unsigned

SECRET = "k3yC4NARY"

# As their makers write them: boto3, azure-storage-blob, google-cloud-storage, planetary_computer, oss2, swift, EdgeAuth.
SIGNED = {
    "AWS 4": "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F2026%2Fs3&X-Amz-Date=2026&X-Amz-Expires=60"
    f"&X-Amz-SignedHeaders=host&X-Amz-Signature={SECRET}&X-Amz-Security-Token={SECRET}",
    "AWS 2": f"AWSAccessKeyId=AKIA&Signature={SECRET}&Expires=1766",
    "Google 4": f"X-Goog-Algorithm=GOOG4&X-Goog-Credential=me&X-Goog-Date=2&X-Goog-Expires=6&X-Goog-SignedHeaders=host"
    f"&X-Goog-Signature={SECRET}",
    "Google 2": f"GoogleAccessId=me&Expires=1&Signature={SECRET}",
    "Azure": f"sv=2024-11-04&ss=b&srt=co&sp=rl&st=2026&se=2027&spr=https&sig={SECRET}%3D",
    "Planetary Computer": f"st=2026&se=2027&sp=rl&sv=2024&sr=c&skoid=a&sktid=b&skt=c&ske=d&sks=b&skv=2024&sig={SECRET}",
    "CloudFront": f"Policy=eyJ&Signature={SECRET}&Key-Pair-Id=K1&A-userid=me",
    "Akamai": f"__token__=exp=1~acl=/*~hmac={SECRET}",
    "Akamai, other name": f"hdnts=st=1~exp=2~acl=/*~hmac={SECRET}",
    "OSS": f"OSSAccessKeyId=LTAI&Expires=1&Signature={SECRET}&security-token={SECRET}",
    "OSS 4": f"x-oss-signature-version=OSS4&x-oss-credential=LTAI&x-oss-date=1&x-oss-expires=2&x-oss-signature={SECRET}",
    "COS": f"q-sign-algorithm=sha1&q-ak=A&q-sign-time=1;2&q-key-time=1;2&q-header-list=host&q-url-param-list="
    f"&q-signature={SECRET}",
    "OBS": f"AccessKeyId=A&Expires=1&Signature={SECRET}",
    "Swift": f"temp_url_sig={SECRET}&temp_url_expires=1",
    "a token": f"token={SECRET}",
    "an API key": f"api_key={SECRET}",
}
OTHER = ["versionId=3", "x=a%2Fb", "sp=north", "expires=never", "se=1", "flag", "q=1;2", "st=x"]


@pytest.mark.parametrize("query", SIGNED.values(), ids=SIGNED)
def test_a_signature_is_cut_whole(query):
    assert unsigned(f"https://a.com/b/c.tif?{query}") == "https://a.com/b/c.tif"


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(list(SIGNED.values())), st.sets(st.sampled_from(["versionId=3", "x=a%2Fb", "flag"])), st.randoms()
)
def test_other_parameters_stay_as_they_are_written_and_in_order(query, others, random):
    pieces = [name.upper() if random.random() < 0.3 else name.replace("-", "%2D") for name in query.split("&")]
    mixed = pieces + sorted(others)
    random.shuffle(mixed)
    left = unsigned("https://a.com/c.tif?" + random.choice(["&", "&amp;"]).join(mixed))
    assert left.partition("?")[2].replace("&amp;", "&").split("&") == ([one for one in mixed if one in others] or [""])


@given(st.lists(st.sampled_from(OTHER), unique=True))
def test_a_query_that_does_not_sign_is_left_alone(others):
    href = "https://a.com/c.tif" + ("?" + "&".join(others) if others else "")
    assert unsigned(href) == href


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        (f"https://me:{SECRET}@a.com/x.tif?v=1", "https://a.com/x.tif?v=1"),
        (f"https://{SECRET}@a.com/x.tif", "https://a.com/x.tif"),
        (f"https://me:a/{SECRET}@a.com/x.tif", "https://a.com/x.tif"),
        ("https://a.com:80/x@y.tif", "https://a.com:80/x@y.tif"),
        (f"s3://key:{SECRET}@box/x.tif", "s3://box/x.tif"),
        ("abfss://box@account.dfs.core.windows.net/x.tif", "abfss://box@account.dfs.core.windows.net/x.tif"),
        (f"az://box/x.tif?sv=1&sig={SECRET}", "az://box/x.tif"),
        (f"https://a.com/x.tif#access_token={SECRET}", "https://a.com/x.tif"),
        (
            f"https://t.io/cog?url={quote(f'https://a.com/x?sv=1&sig={SECRET}', safe='')}&b=1",
            "https://t.io/cog?url=https%3A%2F%2Fa.com%2Fx&b=1",
        ),
        ("s3://box/a?b#c.tif", "s3://box/a?b#c.tif"),
        ("/data/a.tif?sig=x", "/data/a.tif?sig=x"),
        ("file:///data/a.tif?sig=x", "file:///data/a.tif?sig=x"),
    ],
)
def test_what_is_left_of(href, expected):
    assert unsigned(href) == expected


def test_the_list_is_in_lower_case_and_no_companion_signs_alone():
    for scheme in SIGNING.values():
        for name in scheme.proofs | scheme.companions:
            assert name == name.lower()
    proofs = frozenset().union(*(scheme.proofs for scheme in SIGNING.values()))
    assert not proofs & {"expires", "st", "se", "sp", "sv", "exp", "policy", "versionid", "key", "url", "id"}


def test_the_process_reads_with_what_it_kept_back_until_the_store_is_configured_anew():
    whole = f"https://kept.example/a.tif?x=1&sig={SECRET}"
    plain = kept_back(whole)
    assert (plain, as_signed(plain)) == ("https://kept.example/a.tif?x=1", whole)
    assert dict(parse_qsl(urlsplit(plain).query)) == {"x": "1"}
    newer = whole + "9"
    assert as_signed(kept_back(newer)) == newer
    forget_keys("https://kept.example/")
    assert as_signed(plain) == plain


def test_urls_inside_a_text_lose_their_keys():
    text = f'{{"href": "https://text.example/a.tif?sig={SECRET}", "b": "s3://box/b"}}'
    assert keys_kept_back_in(text) == '{"href": "https://text.example/a.tif", "b": "s3://box/b"}'
    forget_keys("https://text.example/")
