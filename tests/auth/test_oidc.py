"""Tokens of an OpenID Connect issuer: what is accepted, what is not, and an issuer that changes keys or is away."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from k8s_mcp.auth import jwks
from k8s_mcp.auth.discovery import safe_url
from k8s_mcp.auth.jwks import ALGORITHMS
from k8s_mcp.auth.oidc import Oidc
from k8s_mcp.errors import StartError, Unauthorized, Unavailable
from k8s_mcp.models import Principal
from tests.support.issuer import AUDIENCE, Issuer, make_key, public_jwk, running_issuer


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


def oidc_of(issuer: Issuer, principal_claim: str = "sub", groups_claim: str = "groups") -> Oidc:
    return Oidc(issuer.url, [AUDIENCE, "other"], principal_claim, groups_claim)


@pytest.fixture
async def oidc(issuer: Issuer) -> AsyncIterator[Oidc]:
    made = oidc_of(issuer)
    async with made.open():
        yield made


async def refusal(oidc: Oidc, token: str) -> str:
    with pytest.raises(Unauthorized) as raised:
        await oidc.principal(token)
    assert token not in raised.value.message
    return raised.value.message


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
async def test_every_algorithm_with_a_public_key_is_accepted(issuer: Issuer, oidc: Oidc, algorithm: str) -> None:
    issuer.rotate(algorithm, algorithm)
    found = await oidc.principal(issuer.token(algorithm, algorithm, groups=["dev", "ops"]))
    assert found == Principal("oidc:alice")
    assert found is not None
    assert found.groups == {"oidc:dev", "oidc:ops"}


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": -60}, "expired"),
        ({"exp": None}, "lacks"),
        ({"aud": None}, "lacks"),
        ({"aud": "another-service"}, "another audience"),
        ({"aud": ["another-service"]}, "another audience"),
        ({"nbf": 600}, "not valid yet"),
        ({"iat": 600}, "not valid yet"),
        ({"sub": None}, "does not name its principal"),
        ({"sub": ""}, "does not name its principal"),
        ({"sub": "al\nice"}, "does not name its principal"),
        ({"sub": "x" * 257}, "does not name its principal"),
    ],
)
async def test_wrong_claim_is_refused_with_its_reason(
    issuer: Issuer, oidc: Oidc, claims: dict[str, Any], said: str
) -> None:
    """Times are in seconds from now."""
    now = int(time.time())
    claims = {name: now + value if isinstance(value, int) else value for name, value in claims.items()}
    assert said in await refusal(oidc, issuer.token(**claims))


async def test_clocks_may_differ_by_seconds(issuer: Issuer, oidc: Oidc) -> None:
    now = int(time.time())
    assert await oidc.principal(issuer.token(exp=now - 10)) is not None
    assert await oidc.principal(issuer.token(nbf=now + 10, iat=now + 10)) is not None


@pytest.mark.parametrize("audience", ["other", [AUDIENCE, "another-service"]])
async def test_one_of_the_audiences_is_enough(issuer: Issuer, oidc: Oidc, audience: object) -> None:
    assert await oidc.principal(issuer.token(aud=audience)) == Principal("oidc:alice")


async def test_token_of_another_issuer_is_left_to_others(issuer: Issuer, oidc: Oidc) -> None:
    assert await oidc.principal(issuer.token(iss="https://elsewhere.example.com")) is None
    assert await oidc.principal(issuer.token(iss=f"{issuer.url}/")) is None
    assert await oidc.principal("not.a.jwt") is None


async def test_token_without_signature_is_refused(issuer: Issuer, oidc: Oidc) -> None:
    """Algorithm `none` (CVE-2015-9235 and its kin)."""
    for name in ("none", "None", "NONE"):
        header, payload = ({"alg": name, "kid": "first"}, issuer.claims())
        parts = [
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, payload)
        ]
        assert "not signed" in await refusal(oidc, f"{'.'.join(parts)}.")


def unsigned(header: object, claims: object) -> str:
    """A JWT of any header and claims, with a signature that is none."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + ".AAAA"


STRANGE: list[object] = [
    [],
    {},
    ["RS256"],
    {"RS256": 1},
    0,
    1e308,
    10**400,
    True,
    None,
    "",
    "rs256",
    "\ud800",
    "x" * 5000,
    float("nan"),
    float("inf"),
]


@pytest.mark.parametrize("name", ["alg", "kid", "typ", "crit", "b64", "jwk", "zip", "cty"])
async def test_header_of_a_strange_type_is_refused(issuer: Issuer, oidc: Oidc, name: str) -> None:
    for value in STRANGE:
        header = {"alg": "RS256", "kid": "first", name: value}
        assert await refusal(oidc, unsigned(header, issuer.claims()))


@pytest.mark.parametrize("name", ["exp", "nbf", "iat", "aud", "sub", "jti", "groups"])
async def test_claim_of_a_strange_type_is_refused_or_read(issuer: Issuer, oidc: Oidc, name: str) -> None:
    """Also when the issuer has signed it."""
    for value in STRANGE:
        assert await refusal(oidc, unsigned({"alg": "RS256", "kid": "first"}, issuer.claims(**{name: value})))
        claims = issuer.claims(**{name: value})
        token = jwt.api_jws.encode(json.dumps(claims).encode(), issuer.keys["first"], "RS256", {"kid": "first"})
        try:
            found = await oidc.principal(token)
        except Unauthorized:
            continue
        assert found is not None
        assert found.name.startswith("oidc:")


async def test_what_is_no_jwt_of_the_issuer_is_left_to_others(oidc: Oidc) -> None:
    for token in (
        unsigned(b"\xff\xfe", {"iss": "x"}),
        unsigned({"alg": "none"}, b"\xff\xfe"),
        unsigned(b"[" * 4000, b"[" * 4000),
        unsigned(b'{"a":' * 1500, b"{}"),
        unsigned([], []),
        unsigned("RS256", 5),
        unsigned(b'{"alg": ' + b"9" * 5000 + b"}", {}),
        unsigned({"alg": "RS256"}, {"iss": []}),
        "..",
        "a.b",
        "a.b.c.d",
        "=.=.=",
    ):
        assert await oidc.principal(token) is None


async def test_public_key_is_no_shared_secret(issuer: Issuer, oidc: Oidc) -> None:
    """HS256 with the public key as the secret (CVE-2016-5431, CVE-2022-29217)."""
    public = issuer.keys["first"].public_key()
    for encoding, form in (
        (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
    ):
        secret = public.public_bytes(encoding, form)
        head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"first"}').rstrip(b"=")
        body = base64.urlsafe_b64encode(json.dumps(issuer.claims()).encode()).rstrip(b"=")
        signature = hmac.digest(secret, head + b"." + body, "sha256")
        token = b".".join([head, body, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()
        assert "not signed" in await refusal(oidc, token)


async def test_key_in_the_token_is_not_believed(issuer: Issuer, oidc: Oidc) -> None:
    """`jwk`, `jku` and `x5u` in the header (CVE-2018-0114)."""
    own = make_key("RS256", "mine")
    header = {"kid": "first", "jwk": public_jwk(own), "jku": f"{issuer.url}/mine", "x5u": f"{issuer.url}/mine"}
    token = jwt.encode(issuer.claims(), own, "RS256", header)
    assert "does not verify" in await refusal(oidc, token)
    assert "/mine" not in issuer.requests


async def test_changed_token_is_refused(issuer: Issuer, oidc: Oidc) -> None:
    head, _, signature = issuer.token().split(".")
    body = base64.urlsafe_b64encode(json.dumps(issuer.claims(sub="admin")).encode()).rstrip(b"=").decode()
    assert "does not verify" in await refusal(oidc, f"{head}.{body}.{signature}")


async def test_key_serves_its_own_algorithm_only(issuer: Issuer, oidc: Oidc) -> None:
    assert "no key" in await refusal(oidc, issuer.token(algorithm="RS512"))


@pytest.mark.parametrize("change", [{"use": "enc"}, {"kty": "oct", "k": "c2VjcmV0"}, {"n": "AQAB"}])
async def test_key_that_is_for_something_else_is_not_used(issuer: Issuer, change: dict[str, str]) -> None:
    issuer.shown["first"] |= change
    oidc = oidc_of(issuer)
    async with oidc.open():
        with pytest.raises((Unauthorized, Unavailable)):
            await oidc.principal(issuer.token())


@pytest.mark.parametrize("kind", ["logout+jwt", "secevent+jwt"])
async def test_token_for_another_purpose_is_refused(issuer: Issuer, oidc: Oidc, kind: str) -> None:
    assert "no access or ID token" in await refusal(oidc, issuer.token(header={"typ": kind}))
    assert await oidc.principal(issuer.token(header={"typ": "at+jwt"})) is not None


async def test_token_may_name_no_key_when_there_is_one(issuer: Issuer, oidc: Oidc) -> None:
    unnamed = issuer.token(header={"kid": None})
    assert await oidc.principal(unnamed) is not None
    issuer.add("second")
    fresh = oidc_of(issuer)
    async with fresh.open():
        assert "no key" in await refusal(fresh, unnamed)


async def test_new_key_is_found_and_the_old_one_is_forgotten(
    issuer: Issuer, oidc: Oidc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "LEAST_SECONDS", 0.0)
    old = issuer.token()
    assert await oidc.principal(old) is not None
    issuer.rotate("second")
    assert await oidc.principal(issuer.token("second")) is not None
    assert "no key" in await refusal(oidc, old)


async def test_unknown_keys_do_not_make_it_ask_again_and_again(issuer: Issuer, oidc: Oidc) -> None:
    assert await oidc.principal(issuer.token()) is not None
    for number in range(20):
        assert "no key" in await refusal(oidc, issuer.token(f"made-up-{number % 2}"))
    assert issuer.requests.count("/keys") == 1


async def test_issuer_that_is_down_is_no_reason_to_refuse_its_tokens(
    issuer: Issuer, oidc: Oidc, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jwks, "LEAST_SECONDS", 0.0)
    assert await oidc.principal(issuer.token()) is not None
    issuer.down = True
    with pytest.raises(Unavailable):
        await oidc.principal(issuer.token("unknown"))
    assert await oidc.principal(issuer.token()) is not None
    assert "answered 500" in caplog.text
    issuer.down = False
    issuer.add("unknown")
    assert await oidc.principal(issuer.token("unknown")) is not None


async def test_issuer_that_was_never_there_means_try_again(issuer: Issuer) -> None:
    issuer.down = True
    oidc = oidc_of(issuer)
    async with oidc.open():
        with pytest.raises(Unavailable):
            await oidc.principal(issuer.token())


@pytest.mark.parametrize(
    "change",
    [
        {"claimed": "https://elsewhere.example.com"},
        {"jwks_uri": "http://keys.example.com/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"redirect": "http://127.0.0.1:1/"},
    ],
)
async def test_keys_from_elsewhere_are_not_fetched(issuer: Issuer, change: dict[str, str]) -> None:
    for name, value in change.items():
        setattr(issuer, name, value)
    oidc = oidc_of(issuer)
    async with oidc.open():
        with pytest.raises(Unavailable):
            await oidc.principal(issuer.token())
    assert "/keys" not in issuer.requests


@pytest.mark.parametrize("url", ["http://issuer.example.com", "issuer", "https://user:pass@issuer.example.com", ""])
async def test_issuer_must_be_one_that_nobody_can_impersonate(url: str) -> None:
    with pytest.raises(ValueError, match=r"is no URL|must begin with https"):
        safe_url(url)
    with pytest.raises(StartError):
        Oidc(url, [AUDIENCE], "sub", "groups")


async def test_audience_must_be_named() -> None:
    with pytest.raises(StartError, match="OIDC_AUDIENCES"):
        Oidc("https://issuer.example.com", [], "sub", "groups")


async def test_other_claims_can_name_principal_and_groups(issuer: Issuer) -> None:
    oidc = oidc_of(issuer, "email", "roles")
    async with oidc.open():
        found = await oidc.principal(issuer.token(email="a@example.com", roles="admin"))
        assert found is not None
        assert (found.name, found.groups) == ("oidc:a@example.com", {"oidc:admin"})
        assert "not verified" in await refusal(oidc, issuer.token(email="a@example.com", email_verified=False))


async def test_groups_that_are_none_are_left_out(issuer: Issuer, oidc: Oidc) -> None:
    found = await oidc.principal(issuer.token(groups=["dev", 7, None, {"a": 1}, "a\nb"]))
    assert found is not None
    assert found.groups == {"oidc:dev"}
