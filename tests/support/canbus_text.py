"""Reading ASC and TRC logs in tests: any bytes in, one block out; and damaging a log."""

import io
import random
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from pm.canbus.formats.block import FrameBlock, Source, merged

Reader = Callable[..., Iterator[FrameBlock]]


class SmallReads(io.BytesIO):
    """A stream that hands over a few bytes at a time."""

    def readinto(self, buffer: Any) -> int:
        return super().readinto(memoryview(buffer)[:777])


def read(
    reader: Reader, log: str | bytes, start_us: int | None = None, stream: Callable[[bytes], BinaryIO] = io.BytesIO
) -> tuple[FrameBlock | None, dict[str, int]]:
    """(all frames of a log, None without any; what was rejected)."""
    source = Source()
    content = log if isinstance(log, bytes) else log.encode()
    blocks = list(reader(stream(content), source, start_us=start_us))
    return (merged(blocks, None, source) if blocks else None), dict(source.rejected)


def frames_of(block: FrameBlock | None) -> list[tuple[int, str, int, bool, str]]:
    """(microseconds, channel, identifier, is extended, payload in hex) of every frame; zeros are checked behind it."""
    if block is None:
        return []
    lengths = block.length.tolist()
    assert all(not block.data[i, n:].any() for i, n in enumerate(lengths))
    return [
        (time_us, block.channels[channel], can_id, is_extended, block.data[i, :n].tobytes().hex())
        for i, (time_us, channel, can_id, is_extended, n) in enumerate(
            zip(
                block.time_us.tolist(),
                block.channel.tolist(),
                block.can_id.tolist(),
                block.is_extended.tolist(),
                lengths,
                strict=True,
            )
        )
    ]


def damaged(log: bytes, n: int, seed: int) -> Iterator[bytes]:
    """`n` copies of a log with bytes changed, cut out, doubled, or its end cut off."""
    rng = random.Random(seed)
    special = b"\n\r\t -.;$/x0123456789aFgRTdr()\x00\xff"
    for _ in range(n):
        copy = bytearray(log)
        for _ in range(rng.randrange(1, 12)):
            at = rng.randrange(len(copy))
            match rng.randrange(4):
                case 0:
                    copy[at] = rng.randrange(256)
                case 1:
                    copy[at] = rng.choice(special)
                case 2:
                    del copy[at : at + rng.randrange(1, 30)]
                case _:
                    copy[at:at] = copy[at : at + rng.randrange(1, 400)]
            if not copy:
                break
        yield bytes(copy[: rng.randrange(1, len(copy) + 2)] if rng.random() < 0.3 else copy)


def check_damaged(reader: Reader, log: bytes, n: int, seed: int) -> int:
    """Read damaged copies; how many were refused. Only ValueError may come out, and only sound frames."""
    n_refused = 0
    for copy in damaged(log, n, seed):
        try:
            block, _ = read(reader, copy)
        except ValueError as reason:
            if not str(reason).startswith("expected "):
                raise
            n_refused += 1
            continue
        for _, _, can_id, is_extended, _ in frames_of(block):
            assert can_id <= (0x1FFFFFFF if is_extended else 0x7FF)
    return n_refused
