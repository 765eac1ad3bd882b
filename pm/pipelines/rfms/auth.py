"""Who asks: how a request to an rFMS server says that it may.

What belongs here: the schemes and the seam for others. A scheme gives the value of the Authorization header;
`post` lets it ask for a token. Scania's challenge and response, for instance, is registered as
`module:function`, called with the server's address and the secret.
"""

import base64
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pm.errors import ConfigError

Post = Callable[[str, Mapping[str, str], str | None], Mapping[str, Any]]
"""Posts a form to an address, with an Authorization header or without; gives back the JSON object."""
SCHEMES: Final = ("none", "bearer", "basic", "client-credentials")


class Scheme(Protocol):
    """How requests are authorized."""

    def authorization(self, post: Post, *, renew: bool) -> str | None:
        """The header's value; None: no header. Asked once more with `renew` where the server answered 401."""
        ...


@dataclass(frozen=True, repr=False)
class Fixed:
    """The same header always: a bearer token, or user and password."""

    value: str | None

    def authorization(self, post: Post, *, renew: bool) -> str | None:
        del post, renew
        return self.value


@dataclass(repr=False)
class ClientCredentials:
    """OAuth 2 client credentials (RFC 6749, 4.4), the client in the Authorization header (2.3.1)."""

    token_address: str
    client_id: str
    client_secret: str
    token: str | None = None

    def authorization(self, post: Post, *, renew: bool) -> str | None:
        if renew or self.token is None:
            basic = _basic(self.client_id, self.client_secret)
            token = post(self.token_address, {"grant_type": "client_credentials"}, basic).get("access_token")
            if not isinstance(token, str) or not token:
                raise ConfigError(f"{self.token_address}: expected an access_token, but got none")
            self.token = token
        return f"Bearer {self.token}"


def make_scheme(
    kind: str, *, address: str, user: str | None = None, secret: str | None = None, token_address: str | None = None
) -> Scheme:
    """The scheme of that name, or what `module:function` makes.

    Raises:
        ConfigError: something the scheme needs is missing, or the function cannot be had.
    """
    if ":" in kind:
        return _registered(kind, address, secret)
    if kind not in SCHEMES:
        raise ConfigError(f"authentication: expected one of {list(SCHEMES)} or module:function, but got {kind}")
    if kind == "none":
        return Fixed(None)
    if not secret:
        raise ConfigError(f"authentication {kind}: expected a secret from a file or a variable, but got none")
    if not secret.isascii() or not secret.isprintable():
        raise ConfigError(f"authentication {kind}: expected a secret of printable ASCII, but got another character")
    if kind == "bearer":
        return Fixed(f"Bearer {secret}")
    if not user:
        raise ConfigError(f"authentication {kind}: expected a user or client id, but got none")
    if kind == "basic":
        return Fixed(_basic(user, secret))
    if not token_address:
        raise ConfigError(f"authentication {kind}: expected the address of the token server, but got none")
    return ClientCredentials(token_address, user, secret)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _registered(name: str, address: str, secret: str | None) -> Scheme:
    module, _, function = name.partition(":")
    try:
        scheme: Scheme = getattr(importlib.import_module(module), function)(address, secret)
    except (ImportError, AttributeError, ValueError) as reason:
        said = " ".join(str(reason).split()).replace(secret or "\0", "***")
        raise ConfigError(
            f"authentication {name}: expected a function of an importable module, but got: {said}"
        ) from None
    if not callable(getattr(scheme, "authorization", None)):
        raise ConfigError(f"authentication {name}: expected an object with authorization(), but got none")
    return scheme
