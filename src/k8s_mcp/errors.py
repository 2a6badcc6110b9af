"""What can go wrong before a run has started, as one small tree.

    K8sMcpError
    ├── InvalidRequest          a field has a wrong value
    │   └── KubeconfigError     the kubeconfig cannot be used
    ├── MalformedRequest        the body, or the head, cannot be read at all
    ├── RequestTimeout          the body did not arrive in time
    ├── TooLarge
    ├── UnsupportedMediaType
    ├── Unauthorized            nobody knows who is calling
    ├── Forbidden               this caller, or this page in a browser, may not
    │   └── InsufficientScope   not with this token; the same caller may get another
    ├── NotFound                no such run, no such cluster, or not the caller's
    │   └── UnknownCluster
    ├── TooManyRuns             every slot is taken
    ├── TooManyRequests         of one caller, in progress at a time
    ├── TooManySessions         of MCP
    ├── Unavailable             the cluster for runner pods is out of reach
    │   └── ShuttingDown        this replica takes nothing up any more
    └── StartError              the service itself cannot start

Every message says what was wrong and what to do. None ever holds a credential. What goes wrong after the start of a
run is no exception but the run's final event.
"""


class K8sMcpError(Exception):
    """Base of the errors a caller is told about."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequest(K8sMcpError):
    """One or more fields have wrong values. `fields` pairs each field's name with what is wrong with it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.fields: list[tuple[str, str]] = [(field, message)]

    @classmethod
    def of(cls, fields: list[tuple[str, str]]) -> "InvalidRequest":
        """One error for several fields; `fields` is not empty."""
        error = cls(*fields[0])
        error.message = "; ".join(f"{field}: {message}" for field, message in fields)
        error.fields = fields
        return error


class KubeconfigError(InvalidRequest):
    """The kubeconfig is refused; the message says where and why, and quotes nothing secret."""

    def __init__(self, message: str) -> None:
        super().__init__("kubeconfig", message)


class MalformedRequest(K8sMcpError):
    """The body is not JSON, or the head not one that can be read in one way only."""


class RequestTimeout(K8sMcpError):
    """The body took too long to arrive."""


class TooLarge(K8sMcpError):
    """The body is over the limit."""


class UnsupportedMediaType(K8sMcpError):
    """The body is not declared as JSON."""


class Unauthorized(K8sMcpError):
    """No credential, or none that is accepted. `challenge` is the value of WWW-Authenticate (RFC 9110)."""

    challenge = "Bearer"


class Forbidden(K8sMcpError):
    """Not allowed, whatever is sent."""


class InsufficientScope(Forbidden):
    """The caller's token lacks `scope`. `challenge` is the value of WWW-Authenticate (RFC 6750, 3)."""

    def __init__(self, message: str, scope: str) -> None:
        super().__init__(f"{message}; ask the token's issuer for one with the scope {scope}")
        self.challenge = f'Bearer error="insufficient_scope", scope="{scope}"'


class NotFound(K8sMcpError):
    """Not there, or not the caller's: the two are not told apart."""


class UnknownCluster(NotFound):
    """No cluster of that name is stored for the caller, or offered to them."""


class TooManyRuns(K8sMcpError):
    """No slot is free. `retry_after` is in seconds."""

    retry_after = 5


class TooManyRequests(K8sMcpError):
    """The caller has as many requests in progress as allowed, streams among them. `retry_after` is in seconds."""

    retry_after = 5


class TooManySessions(K8sMcpError):
    """The caller has as many MCP sessions as allowed. `retry_after` is in seconds."""

    retry_after = 30


class Unavailable(K8sMcpError):
    """Cannot start runs right now. `retry_after` is in seconds."""

    retry_after = 5


class ShuttingDown(Unavailable):
    """This replica takes nothing up any more. The connection closes, so that another one gets the next request."""

    retry_after = 1

    def __init__(self) -> None:
        super().__init__("the service is shutting down; send the request again, another replica will take it")


class StartError(K8sMcpError):
    """The service cannot start as it is set up. For the operator; no caller ever sees it."""
