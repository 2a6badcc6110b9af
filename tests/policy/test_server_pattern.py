"""A pattern for API servers means those that its writer had in mind, and no others."""

import pytest

from k8s_mcp.policy.server_pattern import ServerPattern

RANCHER = "https://rancher.example.com/k8s/clusters/c-m-dev*"


@pytest.mark.parametrize(
    ("pattern", "server"),
    [
        ("*", "https://192.0.2.1:6443"),
        ("*", "https://[2001:db8::1]"),
        ("api.example.com", "https://api.example.com:6443"),
        ("API.Example.com", "https://api.example.com/any/path"),
        ("*.example.com", "https://a.b.example.com"),
        ("192.0.2.1", "https://192.0.2.1:6443"),
        ("192.0.2.*", "https://192.0.2.77"),
        ("192.0.2.0/24", "https://192.0.2.77:443"),
        ("2001:db8::/32", "https://[2001:db8::1]:6443"),
        ("2001:db8::1", "https://[2001:db8::1]:6443"),
        ("[2001:db8::1]", "https://[2001:db8::1]:6443"),
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com", "https://api.example.com:443"),
        ("https://api.example.com:443/", "https://api.example.com"),
        ("https://API.example.com:6443", "https://api.example.com:6443"),
        ("https://*:6443", "https://api.example.com:6443"),
        ("https://192.0.2.1:*", "https://192.0.2.1:6443"),
        (RANCHER, "https://rancher.example.com/k8s/clusters/c-m-dev1"),
        ("https://[2001:db8::1]:6443", "https://[2001:db8::1]:6443"),
    ],
)
def test_matches(pattern: str, server: str) -> None:
    assert ServerPattern(pattern).matches(server)


@pytest.mark.parametrize(
    ("pattern", "server"),
    [
        ("api.example.com", "https://xapi.example.com"),
        ("api.example.com", "https://api.example.com.evil.example"),
        ("api.example.com", "https://evil.example/api.example.com"),
        ("api.example.com", "https://apiXexample.com"),  # a dot is a dot
        ("*.example.com", "https://example.com"),
        ("*.example.com", "https://evil.example/x.example.com"),
        ("192.0.2.0/24", "https://192.0.3.1"),
        ("192.0.2.0/24", "https://name-of-192.0.2.1.example.com"),
        ("192.0.2.0/24", "https://[::ffff:192.0.2.1]"),
        ("https://api.example.com", "http://api.example.com"),
        ("https://api.example.com", "https://api.example.com:6443"),
        ("https://api.example.com", "https://api.example.com/path"),
        ("https://api.example.com/*", "https://api.example.com"),
        (RANCHER, "https://rancher.example.com/k8s/clusters/c-m-prod"),
        (RANCHER, "https://rancher.example.com/k8s/clusters/c-m-dev1/more"),
        (RANCHER, "https://rancher.example.com/k8s/clusters/c-m-dev1/../c-m-prod"),
        (RANCHER, "https://rancher.example.com/k8s/clusters/c-m-dev%2f..%2fc-m-prod"),
        (RANCHER, "https://rancher.example.com/k8s/clusters/c-m-dev;x"),
        ("https://rancher.example.com/*/*/*", "https://rancher.example.com/k8s/../c-m-prod"),
        ("https://rancher.example.com/*/*", "https://rancher.example.com/k8s//"),
        ("https://rancher.example.com*", "https://rancher.example.com/k8s"),
        ("https://*", "https://rancher.example.com/k8s"),
    ],
)
def test_does_not_match(pattern: str, server: str) -> None:
    assert not ServerPattern(pattern).matches(server)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "host:6443",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "a/b",
        "ftp://x",
        "https://",
        "https://a?b",
        "https://a/%2e",
    ],
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|host bits|not permitted|does not appear"):
        ServerPattern(text)


@pytest.mark.timeout(5)
def test_many_stars_take_no_time() -> None:
    assert not ServerPattern("*a" * 200 + "b").matches("https://" + "a" * 250)
