"""An OpenID Connect issuer with real keys, on a port of this machine: discovery, keys, tokens, rotation, logins."""

import base64
import hashlib
import json
import secrets
import ssl
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "k8s-mcp"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


@cache
def make_key(algorithm: str, kid: str) -> PrivateKey:
    """The same for the same arguments: it takes a while to find one."""
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm]())
    return rsa.generate_private_key(65537, 2048)


def public_jwk(key: PrivateKey) -> dict[str, Any]:
    public: Any = key.public_key()
    kind: Any = {
        rsa.RSAPrivateKey: RSAAlgorithm,
        ec.EllipticCurvePrivateKey: ECAlgorithm,
        ed25519.Ed25519PrivateKey: OKPAlgorithm,
    }
    [algorithm] = [made for private, made in kind.items() if isinstance(key, private)]
    return json.loads(algorithm.to_jwk(public))


class Issuer:
    """`keys` are those it shows, by their id; `requests` counts what it was asked. While `down` it answers 500.

    Whoever comes to log in is alice, and is sent back at once; `said` replaces what her browser brings along, `login`
    the claims of her ID token, `bad_answer` what a code or a refresh token is exchanged for.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str, PrivateKey] = {}
        self.shown: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.down = False
        self.redirect = ""
        self.jwks_uri = f"{url}/keys"
        self.claimed = url
        self.client = "page"
        self.said: dict[str, str] = {}
        self.login: dict[str, Any] = {}
        self.bad_answer: tuple[int, bytes] | None = None
        self._granted: dict[str, dict[str, str]] = {}
        self.rotate("first")

    def rotate(self, kid: str, algorithm: str = "RS256") -> None:
        """Only this new key from now on."""
        self.shown.clear()
        self.add(kid, algorithm)

    def add(self, kid: str, algorithm: str = "RS256") -> None:
        self.keys[kid] = make_key(algorithm, kid)
        self.shown[kid] = {**public_jwk(self.keys[kid]), "kid": kid, "use": "sig", "alg": algorithm}

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Claims of a good token; those given as None are left out."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "alice",
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            **changed,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(
        self, kid: str = "first", algorithm: str = "RS256", header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        headers = {"kid": kid, **(header or {})}
        headers = {name: value for name, value in headers.items() if value is not None}
        if kid not in self.keys:
            self.keys[kid] = make_key(algorithm, kid)
        return jwt.encode(self.claims(**claims), self.keys[kid], algorithm, headers)

    def answer(self, path: str) -> tuple[int, Any]:
        self.requests.append(path)
        if self.down:
            return 500, {}
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.claimed,
                "jwks_uri": self.jwks_uri,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "authorization_response_iss_parameter_supported": True,
            }
        return (200, {"keys": list(self.shown.values())}) if path == "/keys" else (404, {})

    def authorize(self, query: str) -> str:
        """Where a browser that came with this query is sent."""
        asked = dict(parse_qsl(query))
        code = secrets.token_hex(8)
        self._granted[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.url, **self.said}
        return f"{asked['redirect_uri']}?{urlencode(back)}"

    def exchange(self, form: Mapping[str, str]) -> tuple[int, bytes]:
        """The answer of the token endpoint."""
        if self.bad_answer:
            return self.bad_answer
        name = {"authorization_code": "code", "refresh_token": "refresh_token"}[form["grant_type"]]
        asked = self._granted.pop(form[name], None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        proven = asked and (name == "refresh_token" or challenge == asked["code_challenge"])
        if not asked or not proven or form["client_id"] != self.client:
            return 400, b'{"error": "invalid_grant"}'
        refresh = secrets.token_hex(8)
        self._granted[refresh] = asked
        id_token: dict[str, Any] = {"aud": self.client, "nonce": asked["nonce"], **self.login}
        answer = {
            "access_token": self.token(jti=refresh),
            "id_token": self.token(header=None, **id_token),
            "refresh_token": refresh,
        }
        return 200, json.dumps(answer).encode()


@contextmanager
def running_issuer(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Generator[Issuer]:
    """Speaks https with `tls`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            status, value = issuer.answer(self.path)
            to = issuer.authorize(query) if path == "/authorize" else issuer.redirect
            self._send(302 if to else status, json.dumps(value).encode(), to)

        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self._send(*issuer.exchange(form))

        def _send(self, status: int, body: bytes, to: str = "") -> None:
            self.send_response(status)
            if to:
                self.send_header("Location", to)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    with ThreadingHTTPServer((host, 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        issuer = Issuer(f"http{'s' if tls else ''}://{host}:{server.server_address[1]}")
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
