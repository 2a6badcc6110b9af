"""Answers on the port of a context for which no credential proxy can be started: `python3 no_proxy.py PORT`.

A kubeconfig can have contexts whose credentials are of no use to anybody. A command hears so when it uses one, and is
not disturbed as long as it does not.
"""

import http.server
import json
import sys

_STATUS = {
    "kind": "Status",
    "apiVersion": "v1",
    "status": "Failure",
    "code": 503,
    "reason": "ServiceUnavailable",
    "message": "kubectl proxy does not start with the credentials that the kubeconfig has for this context",
}


class _Refusal(http.server.BaseHTTPRequestHandler):
    def refuse(self) -> None:
        body = json.dumps(_STATUS).encode()
        self.send_response(503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_GET = do_PATCH = do_POST = do_PUT = refuse  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nobody reads it."""


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Refusal).serve_forever()
