"""Frames of several groups in order of time.

What belongs here: putting the pieces of one data group in order, whose records a logger wrote group by
group from its buffers, and merging several data groups. No group's own order is ever changed: where its
clock was set back, the step stays.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pm.canbus.formats.block import I64, FrameBlock, Source, merged
from pm.canbus.formats.mdf_groups import Piece


def in_order(pieces: Iterator[Piece], source: Source, n_waiting: int) -> Iterator[Piece]:
    """Pieces whose frames lie up to n_waiting from where they belong, in order of time.

    CSS loggers write a group up to a second late, which is some tens of frames on a busy bus. Frames of
    one time keep their order. A frame further away comes late, as a backward step.
    """
    waiting: Piece | None = None
    for piece in pieces:
        waiting = _sorted([waiting, piece] if waiting else [piece], source)
        n_ready = len(waiting.block) - n_waiting
        if n_ready > 0:
            yield _rows(waiting, 0, n_ready)
            waiting = _rows(waiting, n_ready, len(waiting.block))
    if waiting:
        yield waiting


@dataclass
class _Head:
    """The next frames of one data group."""

    pieces: Iterator[Piece]
    piece: Piece

    @classmethod
    def of(cls, pieces: Iterator[Piece]) -> "_Head | None":
        piece = next(pieces, None)
        return None if piece is None else cls(pieces, _rising(piece, 0))

    @property
    def last_us(self) -> int:
        return int(self.piece.key_us[-1])

    def take(self, end: int) -> Piece:
        """The frames before `end`."""
        taken, self.piece = _rows(self.piece, 0, end), _rows(self.piece, end, len(self.piece.block))
        return taken

    def load(self, latest_us: int) -> bool:
        """The next piece after the one whose last key is `latest_us`; False when there is none."""
        following = next(self.pieces, None)
        if following is not None:
            self.piece = _rising(following, latest_us)
        return following is not None


def merge(groups: list[Iterator[Piece]], source: Source) -> Iterator[FrameBlock]:
    """Blocks of all groups in order of time; frames of one time come in the order of the groups."""
    heads = [head for pieces in groups if (head := _Head.of(pieces)) is not None]
    while heads:
        # The piece that ends first: until its group goes on, nothing later can be told to be next.
        first = min(range(len(heads)), key=lambda number: heads[number].last_us)
        bound = heads[first].last_us
        ready = []
        for number, head in enumerate(heads):
            side: Literal["left", "right"] = "right" if number <= first else "left"
            end = int(np.searchsorted(head.piece.key_us, bound, side=side))
            if end:
                ready.append(head.take(end))
        yield _sorted(ready, source).block
        if not heads[first].load(bound):
            del heads[first]


def _sorted(pieces: list[Piece], source: Source) -> Piece:
    """All frames by key; frames of one key keep the order of the pieces."""
    key_us = pieces[0].key_us if len(pieces) == 1 else np.concatenate([piece.key_us for piece in pieces])
    blocks = [piece.block for piece in pieces]
    if (key_us[1:] >= key_us[:-1]).all():
        return pieces[0] if len(pieces) == 1 else Piece(merged(blocks, None, source), key_us)
    order: I64 = np.argsort(key_us, kind="stable")
    return Piece(merged(blocks, order, source), key_us[order])


def _rows(piece: Piece, start: int, end: int) -> Piece:
    block = piece.block
    rows = slice(start, end)
    return Piece(
        FrameBlock(
            time_us=block.time_us[rows],
            channel=block.channel[rows],
            can_id=block.can_id[rows],
            is_extended=block.is_extended[rows],
            length=block.length[rows],
            data=block.data[rows],
            channels=block.channels,
        ),
        piece.key_us[rows],
    )


def _rising(piece: Piece, at_least_us: int) -> Piece:
    """The piece with keys that never fall, not even below those of the piece before."""
    return piece._replace(key_us=np.maximum(np.maximum.accumulate(piece.key_us), at_least_us))
