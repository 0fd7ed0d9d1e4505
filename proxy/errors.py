"""Every error of the program, by what it blames.

ProxyError
├── ClientError          the request: answered in the dialect's shape with `status`
│   ├── BadRequest       400  malformed, a wrong type, or refused; `param` names the field
│   ├── PromptTooLong    400  more tokens than the model's context takes
│   ├── TooLarge         413  body over the limit
│   ├── Unauthorized     401  no key, a wrong one, or one that has expired
│   ├── NotServed        404  a path or model that is not offered
│   ├── TooMany          429  a limit of the operator's
│   ├── Unavailable      503  nobody is served just now
│   └── Unsupported      415  a content encoding that cannot be read
├── PolicyError          a policy file: what is wrong, where, and how to fix it
│   └── KeysError        the file of keys: the same
├── SettingsError        a flag, an environment variable or safety-proxy.toml; exit code 2
└── UpstreamError        the model server: `status` is what the client gets
    ├── UpstreamUnreachable   502
    ├── UpstreamTimeout       504
    └── UpstreamBroken        502  not HTTP, not the dialect, or a response that stops in the middle
"""

from __future__ import annotations


class ProxyError(Exception):
    """The root. Its text is for people and never holds text of a prompt or an answer."""


class ClientError(ProxyError):
    """The client's request cannot be served.

    param: the field that is wrong, as a path into the body (`messages[2].content`)
    code:  a short word for programs (`content_filter`, `invalid_json`)
    """

    status = 400

    def __init__(
        self, message: str, param: str | None = None, code: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        if status is not None:
            self.status = status


class BadRequest(ClientError):
    """Malformed, of a wrong type, or refused by default."""


class PromptTooLong(ClientError):
    """The prompt does not fit into the model's context. OpenAI's clients know the code."""

    def __init__(self, message: str) -> None:
        super().__init__(message, None, "context_length_exceeded")

    @classmethod
    def with_counts(cls, tokens: int, length: int, exact: bool = False) -> PromptTooLong:
        """With the numbers in its text. `exact`: the tokens were counted, not estimated."""
        count = tokens if exact else f"about {tokens}"
        return cls(f"The prompt is too long: it has {count} tokens, and the model's context takes {length}; shorten it")


class TooLarge(ClientError):
    """The body is over the limit."""

    status = 413


class NotServed(ClientError):
    """A path or a model that is not offered."""

    status = 404


class Unauthorized(ClientError):
    """The request shows no key that is valid. `headers` go with the response (RFC 9110, section 11.6.1)."""

    status = 401
    headers = ((b"www-authenticate", b"Bearer"),)

    def __init__(self, message: str) -> None:
        super().__init__(message, None, "invalid_api_key")


class TooMany(ClientError):
    """A limit that the operator has set is reached; `seconds`: after how many it is worth asking again."""

    status = 429

    def __init__(self, message: str, code: str, seconds: float) -> None:
        super().__init__(message, None, code)
        self.headers = [(b"retry-after", b"%d" % max(1, -int(-seconds // 1)))]


class Unavailable(ClientError):
    """Nobody is served just now. `seconds`: after how many it is worth asking again; None: nobody knows, so programs
    should not."""

    status = 503

    def __init__(self, message: str, code: str, seconds: float | None = None) -> None:
        super().__init__(message, None, code)
        if seconds is None:
            self.headers = [(b"x-should-retry", b"false")]
        else:
            self.headers = [(b"retry-after", b"%d" % max(1, -int(-seconds // 1)))]


class Unsupported(ClientError):
    """A content encoding that cannot be read."""

    status = 415


class PolicyError(ProxyError):
    """One or more things are wrong in the policy files; `problems` are whole lines with place, reason and fix."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class KeysError(PolicyError):
    """One or more things are wrong in the file of keys."""


class SettingsError(ProxyError):
    """A setting is unknown or cannot be used."""


UPSTREAM_REASONS = (
    *("connect", "timeout", "protocol", "truncated", "too_long", "error_event"),
    *("status_2xx", "status_3xx", "status_4xx", "status_5xx", "stopping"),
)
"""Why a model server fails, in words for metrics; docs/metrics.md says what each means."""


class UpstreamError(ProxyError):
    """The model server failed.

    reason: one of UPSTREAM_REASONS; `internal`, `busy` or `paused` where it is not the model server's
    """

    status = 502

    def __init__(self, message: str, reason: str, status: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        if status is not None:
            self.status = status

    @property
    def for_log(self) -> str:
        """Its text without the words of the model server, which may quote the prompt (llama.cpp does)."""
        return "the model server reported an error" if self.reason == "error_event" else str(self)


class UpstreamUnreachable(UpstreamError):
    """Nothing answers at the upstream's address.

    was_sent: the request had been sent before, over a connection that broke; it may have been processed
    """

    was_sent = False


class UpstreamTimeout(UpstreamError):
    """The upstream sent nothing for too long."""

    status = 504


class UpstreamBroken(UpstreamError):
    """The upstream's response is not what it should be, or stops in the middle."""
