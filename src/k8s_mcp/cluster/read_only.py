"""What a read-only run may ask the API server for, as filters of `kubectl proxy`.

The credential proxy is the only one that holds the run's credential, so what it refuses no shell, script, plugin or
raw request of the command gets. Default closed: GET and HEAD alone, and only paths of shapes known to read. So exec,
attach, portforward and proxy are not there, which an upgraded GET can ask for as well.

`kubectl proxy` matches the path as the API server will see it: percent-decoded once, without the query. No pattern
admits an empty segment, one that begins with a dot, or a `%`: what another proxy on the way might read differently.
https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris
"""

_NAME = r"[A-Za-z0-9_:~@+-][A-Za-z0-9_:~@+.=-]*"
_GROUP = r"[a-z0-9][a-z0-9.-]*"
_WORD = r"[a-z][a-z0-9-]*"  # a version, a resource
_VERSION = rf"/(api/{_WORD}|apis/{_GROUP}/{_WORD})"
_READABLE_PARTS = "log|scale|status"

_PATHS = (
    # Discovery, health, the API's own description
    r"^/(api|apis|healthz|livez|metrics|readyz|version)/?$",
    rf"^/(healthz|livez|readyz)(/{_NAME})+$",
    rf"^/openapi/(v2|v3(/{_NAME})*)$",
    rf"^/apis/{_GROUP}$",
    rf"^{_VERSION}$",
    # Objects: lists, single ones, and three of their subresources
    rf"^{_VERSION}(/namespaces/{_NAME})?/{_WORD}(/{_NAME}(/({_READABLE_PARTS}))?)?$",
)
# `watch` and `proxy` before the resource are older forms of the same requests: nobody needs them.
_FORMER_VERBS = rf"^{_VERSION}/(proxy|watch)(/|$)"
# In every API group: what else is called so will hold the same.
_SECRETS = rf"^{_VERSION}(/namespaces/[^/]*)?/secrets(/|$)"


def _all_but(*words: str) -> str:
    """A pattern for every text that is none of `words`: Go's have no negative lookahead, and no set difference."""
    beginnings = {word[:length] for word in words for length in range(len(word))}
    follow = {begin: {word[len(begin)] for word in words if word.startswith(begin)} for begin in beginnings}
    wrong = [f"^{begin}[^{''.join(sorted(follow[begin]))}]" for begin in sorted(beginnings)]
    short = [f"^{begin}$" for begin in sorted(beginnings - set(words))]
    return "|".join([*wrong, *short, *(f"^{word}." for word in words)])


ACCEPT_PATHS = ",".join(_PATHS)
"""kubectl splits at commas; so no pattern has one."""
REJECT_METHODS = _all_but("GET", "HEAD")
REJECT_PATHS = f"{_FORMER_VERBS},{_SECRETS}"
REJECT_PATHS_WITH_SECRETS = _FORMER_VERBS
