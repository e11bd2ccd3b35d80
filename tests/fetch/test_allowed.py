"""Does an allowed prefix allow what is below it, in every spelling, and none of its neighbours?"""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.addresses import Reach, reach_of, reaches_of, written_address
from polars_rasteret.fetch.allowed_prefixes import is_within
from polars_rasteret.options import options

segments = st.lists(st.text("abXY09-_~ äö+,=", min_size=1, max_size=6), min_size=1, max_size=4)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(segments, segments, st.randoms())
def test_what_is_below_a_web_prefix_is_allowed_however_it_is_spelled(folder, below, random):
    def spelled(piece):
        if not piece.isascii():
            return quote(piece)
        return "".join(f"%{ord(one):02x}" if random.random() < 0.3 else quote(one) for one in piece)

    prefix = "https://a.com/" + "/".join(map(quote, folder)) + random.choice(["", "/"])
    host = random.choice(["a.com", "A.Com", "a.com:443", "a.com.", "me:pass@a.com"])
    path = "/".join(map(spelled, [*folder, *below]))
    href = f"{random.choice(['https', 'HTTPS'])}://{host}/{path}{random.choice(['', '?v=1', '#x'])}"
    assert is_within(href, ["s3://other/", prefix])


NEIGHBOURS = [
    "http://a.com/x/y",
    "https://a.com/xy",
    "https://a.com/x.tif",
    "https://a.com/",
    "https://a.com",
    "https://a.com/X/y",
    "https://a.com.evil/x/y",
    "https://a.com:8443/x/y",
    "https://a.com@evil/x/y",
    "https://a.com:443@evil/x/y",
    "https://a.com%2f@evil/x/y",
    "https://evil/a.com/x/y",
    "https://evil#@a.com/x/y",
    "https://evil?@a.com/x/y",
    "https://evil\\@a.com/x/y",
    "https://a.com\\@evil/x/y",
    "https://a.com\\.evil/x/y",
    "https:\\\\a.com\\x\\y",
    "https:/a.com/x/y",
    "https:a.com/x/y",
    "//a.com/x/y",
    "https://a.com/x/../y",
    "https://a.com/x/%2e%2e/y",
    "https://a.com/x/%2E./y",
    "https://a.com/x/%252e%252e/y",
    "https://a.com/x%2f..%2fy",
    "https://a.com/x/..%2fy",
    "https://a.com/x/..;/y",
    "https://a.com/x/..\\y",
    "https://a.com/x/..%5cy",
    "https://a.com/x%2Fy/z",
    "https://a.com//x/y",
    "https://a.com/./x/../../y",
    "https://a.com/x\n/y",
    "https://a.com/x/y\r\nHost: evil",
    "https://xn--a-0.com/x/y",
    "https://\uff41.com.evil/x/y",
    "https://a\u3002com.evil/x",
    "https://[::1]/x/y",
    "https://a.com:99999/x",
    "s3://a.com/x/y",
    "file://a.com/x/y",
    "a.com/x/y",
    " https://a.com/x/y",
    "",
]


@pytest.mark.parametrize("href", NEIGHBOURS)
def test_a_neighbour_of_a_web_prefix_is_not_allowed(href):
    assert not is_within(href, ["https://a.com/x", "https://a.com/x/"])


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    segments,
    st.sampled_from(["..", "%2e%2e", "%2E%2e", ".%2e", "%252e%252e", "..;a=b", "..%2f..", "..%5c.."]),
    segments,
)
def test_a_step_upwards_leaves_every_prefix(folder, step, below):
    prefix = "https://a.com/" + "/".join(map(quote, folder))
    assert not is_within(f"{prefix}/{step}/{'/'.join(map(quote, below))}", [prefix])
    bucket = "s3://box/" + "/".join(folder)
    assert not is_within(f"{bucket}/{step}/{'/'.join(below)}", [bucket])


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(segments, segments)
@example(["x"], ["x"])
def test_the_prefix_decides_by_whole_segments(folder, other):
    prefix, href = "https://a.com/" + "/".join(map(quote, folder)), "https://a.com/" + "/".join(map(quote, other))
    assert is_within(href, [prefix]) == (other[: len(folder)] == folder)
    assert is_within("s3://b/" + "/".join(other), ["s3://b/" + "/".join(folder)]) == (other[: len(folder)] == folder)


SPELLINGS = {
    "s3://box/k/a.tif": [
        "s3a://box/k/a.tif",
        "https://box.s3.amazonaws.com/k/a.tif",
        "https://box.s3.eu-central-1.amazonaws.com/k/a.tif",
        "https://box.s3-us-west-2.amazonaws.com/k/a.tif",
        "https://box.s3.dualstack.us-west-2.amazonaws.com/k/a.tif",
        "https://s3.amazonaws.com/box/k/a.tif",
        "https://s3.us-west-2.amazonaws.com/box/k/a.tif",
        "https://box.s3.cn-north-1.amazonaws.com.cn/k/a.tif",
    ],
    "gs://box/k/a.tif": ["https://storage.googleapis.com/box/k/a.tif", "https://box.storage.googleapis.com/k/a.tif"],
    "abfss://box@acc.dfs.core.windows.net/k/a.tif": [
        "https://acc.blob.core.windows.net/box/k/a.tif",
        "https://acc.dfs.core.windows.net/box/k/a.tif",
        "az://box@acc.blob.core.windows.net/k/a.tif",
    ],
}


@pytest.mark.parametrize(("bucket", "other"), [(one, two) for one, its in SPELLINGS.items() for two in its])
def test_a_bucket_is_allowed_by_each_of_its_addresses_unless_it_is_served_elsewhere(bucket, other):
    folder, other_folder = bucket.removesuffix("/a.tif"), other.removesuffix("/a.tif")
    assert is_within(other, [folder])
    assert is_within(bucket, [other_folder])
    assert not is_within(other.replace("/k/", "/kk/"), [folder])
    assert not is_within(other.replace("box", "boxes"), [folder])
    assert not is_within(other.replace("amazonaws.com", "amazonaws.com.evil"), [folder]) or "amazonaws" not in other
    if "https" in other and "s3" in bucket:
        assert not is_within(other, [folder], is_elsewhere=lambda name: name == "s3://box")
        assert is_within(bucket, [folder], is_elsewhere=lambda name: name == "s3://box")


def test_local_places_are_compared_after_links_and_steps(tmp_path, monkeypatch):
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.tif").write_bytes(b"")
    (inside / "link.tif").symlink_to(outside / "a.tif")
    (tmp_path / "alias").symlink_to(inside)
    monkeypatch.chdir(inside)
    monkeypatch.setenv("HOME", str(tmp_path))
    good = [
        str(inside / "a.tif"),
        "a.tif",
        "./a.tif",
        "../in/a.tif",
        f"file://{inside}/a.tif",
        "~/in/a.tif",
        f"{tmp_path}/alias/a.tif",
    ]
    bad = [str(outside / "a.tif"), "../out/a.tif", "link.tif", f"{inside}/../out/a.tif", f"file://{inside}/%2e%2e/out/a.tif",
           "file://evil/in/a.tif", str(inside) + "side/a.tif", "~/out/a.tif", "/etc/passwd", "a.tif\0.txt"]  # fmt: skip
    for prefix in (str(inside), f"{inside}/", inside.as_uri(), f"{tmp_path}/alias", "~/in"):
        assert [href for href in good if not is_within(href, [prefix])] == []
        assert [href for href in bad if is_within(href, [prefix])] == []
    assert is_within("/etc/passwd", ["/"])
    assert Path("link.tif").exists()


@pytest.mark.parametrize(
    "prefix", ["", "https://", "https:///x", "https://me@a.com/", "https://a.com/?x", "https://a.com/x/..", "s3://"]
)
def test_a_prefix_that_names_no_place_is_refused(prefix):
    with pytest.raises(UsageError, match="allowed_hrefs"):
        options(allowed_hrefs=[prefix])


# -- addresses ---------------------------------------------------------------------------------------------------------


def spellings(address: ipaddress.IPv4Address, random) -> str:
    """Write an IPv4 address in one of the ways that inet_aton reads."""
    parts = list(address.packed)
    n = random.randint(1, 4)
    last = int.from_bytes(bytes(parts[n - 1 :]), "big")
    numbers = [*parts[: n - 1], last]
    return ".".join(
        random.choice([str, hex, lambda one: f"0{one:o}", lambda one: f"0X{one:X}"])(one) for one in numbers
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address), st.randoms())
def test_an_address_is_read_as_the_system_reads_it(address, random):
    text = spellings(address, random)
    assert written_address(text) == ipaddress.IPv4Address(socket.inet_aton(text)) == address


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([("169.254.0.0", 16, Reach.LINK), ("127.0.0.0", 8, Reach.LOOPBACK)]),
    st.integers(0, 2**24 - 1),
    st.randoms(),
)
def test_link_and_loopback_are_known_in_every_spelling(network, offset, random):
    first, bits, expected = network
    address = ipaddress.IPv4Address(int(ipaddress.IPv4Address(first)) + offset % 2 ** (32 - bits))
    number = int(address)
    hosts = [
        spellings(address, random),
        str(address) + ".",
        f"[::ffff:{address}]",
        f"[{ipaddress.IPv6Address((0x2002 << 112) | (number << 80))}]",
        f"[64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}]",
        str(address).translate({ord(str(n)): chr(0xFF10 + n) for n in range(10)}),
        str(address).replace(".", "。"),
    ]
    for host in hosts:
        assert reaches_of(host, is_looked_up=False) == {expected}, host


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("[fe80::1%eth0]", Reach.LINK), ("[fd00:ec2::254]", Reach.LINK), ("100.100.100.200", Reach.LINK),
        ("[::1]", Reach.LOOPBACK), ("[::]", Reach.LOOPBACK), ("0", Reach.LOOPBACK), ("localhost", Reach.LOOPBACK),
        ("LOCALHOST.", Reach.LOOPBACK), ("a.localhost", Reach.LOOPBACK), ("8.8.8.8", Reach.ELSEWHERE),
        ("[2001:db8::1]", Reach.ELSEWHERE), ("10.0.0.1", Reach.ELSEWHERE),
    ],
)  # fmt: skip
def test_where_a_host_leads(host, expected):
    assert reaches_of(host, is_looked_up=False) == {expected}


def test_a_name_leads_wherever_one_of_its_addresses_leads(monkeypatch):
    answers = [(socket.AF_INET, 1, 6, "", ("93.184.216.34", 0)), (socket.AF_INET6, 1, 6, "", ("fe80::1%2", 0, 0, 2))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_words: answers)
    assert reaches_of("two-addresses.example") == {Reach.ELSEWHERE, Reach.LINK}
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_words: pytest.fail("asked again at once"))
    assert reaches_of("two-addresses.example") == {Reach.ELSEWHERE, Reach.LINK}
    assert reach_of(ipaddress.ip_address("169.254.169.254")) is Reach.LINK
