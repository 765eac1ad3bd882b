"""Tables of the report as HTML.

What belongs here: markup that several parts of the report share.
"""

from collections.abc import Iterable
from html import escape


def shade(shaded: bool) -> str:
    """The attribute that shades a cell, or nothing."""
    return ' class="best"' if shaded else ""


def table(caption: str, heads: Iterable[str], lines: Iterable[str]) -> str:
    """A table that scrolls sideways; `heads` are cells and `lines` rows, as HTML."""
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f'<table><caption class="small soft">{escape(caption)}</caption>'
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )
