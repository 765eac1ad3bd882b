"""How long work tells how far it is, without knowing who looks.

A pipeline takes a `Track`; the command line hands it one that draws bars, everything else `silent`.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Track(Protocol):
    """Wraps `items` so that each one taken counts as a step done."""

    def __call__(self, items: Iterable[T], description: str, total: int) -> Iterable[T]: ...


def silent(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """A `Track` that shows nothing."""
    del description, total
    yield from items
