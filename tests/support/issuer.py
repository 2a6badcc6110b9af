"""An OpenID Connect issuer with real keys, on a port of this machine: discovery, key set, tokens, rotation."""

import json
import ssl
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

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
    """`keys` are those it shows, by their id; `requests` counts what it was asked. While `down` it answers 500."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str, PrivateKey] = {}
        self.shown: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.down = False
        self.redirect = ""
        self.jwks_uri = f"{url}/keys"
        self.claimed = url
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
            return 200, {"issuer": self.claimed, "jwks_uri": self.jwks_uri}
        return (200, {"keys": list(self.shown.values())}) if path == "/keys" else (404, {})


@contextmanager
def running_issuer(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Generator[Issuer]:
    """Speaks https with `tls`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, value = issuer.answer(self.path)
            body = json.dumps(value).encode()
            self.send_response(302 if issuer.redirect else status)
            if issuer.redirect:
                self.send_header("Location", issuer.redirect)
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
