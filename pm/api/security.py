"""Response headers that keep a browser from doing what these pages never ask for.

What belongs here: header policy. The pages carry no script at all, so none is allowed.
"""

from collections.abc import MutableMapping
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
REPORT_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The backtest report is one self-contained file: its style stands inside it."""

HEADERS: Final = {
    "content-security-policy": PAGE_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
_RAW: Final = tuple((name.encode(), value.encode()) for name, value in HEADERS.items())


class SecurityHeaders:
    """ASGI layer that adds the headers a response does not already carry."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _complete(message)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _complete(message: MutableMapping[str, Any]) -> None:
    present = {name.lower() for name, _ in message.get("headers", ())}
    missing = [header for header in _RAW if header[0] not in present]
    message["headers"] = [*message.get("headers", ()), *missing]
