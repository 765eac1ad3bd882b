"""The cells of binary COPY rows, compiled: lengths and values of one column at a time.

What belongs here: kernels that write a column into rows whose sizes are known. `at` holds where the next
cell of each row begins and moves on. Which column is what, is said by the encoders
(`pm.store.copy_binary`, `pm.store.copy_decoded`).
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pm.canbus.jit import kernel

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

ALL: Final = np.empty(0, np.bool_)
"""For `valid`: no value is null."""
LENGTH_BYTES: Final = 4


@kernel
def put(out: U8, at: int, value: np.uint64, width: int) -> int:
    """Write the lowest `width` bytes of `value`, the highest first; returns where they end."""
    shift = 8 * (width - 1)
    for byte in range(width):
        out[at + byte] = np.uint8((value >> np.uint64(shift - 8 * byte)) & np.uint64(0xFF))
    return at + width


@kernel
def put_sized(out: U8, at: int, value: Any, width: int) -> int:
    """Write a length and a whole number of that many bytes."""
    return put(out, put(out, at, np.uint64(width), 4), np.uint64(value), width)


@kernel
def put_counts(out: U8, at: I64, n_columns: int) -> None:
    """Write how many columns each row has."""
    for i in range(len(at)):
        at[i] = put(out, at[i], np.uint64(n_columns), 2)


@kernel
def add_number_sizes(sizes: I64, width: int, valid: Mask) -> None:
    """Add the bytes of a column of numbers to the rows' sizes."""
    for i in range(len(sizes)):
        sizes[i] += 4 + (width if len(valid) == 0 or valid[i] else 0)


@kernel
def put_numbers(out: U8, at: I64, bits: Any, valid: Mask) -> None:
    """Write a column of numbers, given as unsigned numbers of their width."""
    for i in range(len(at)):
        if len(valid) == 0 or valid[i]:
            place = put(out, at[i], np.uint64(bits.itemsize), 4)
            at[i] = put(out, place, np.uint64(bits[i]), bits.itemsize)
        else:
            at[i] = put(out, at[i], np.uint64(0xFFFFFFFF), 4)


@kernel
def add_text_sizes(sizes: I64, ends: I64, n_prefix: int, valid: Mask) -> None:
    """Add the bytes of a column of texts; text i ends at ends[i + 1] and begins at ends[i]."""
    for i in range(len(sizes)):
        sizes[i] += 4 + (n_prefix + ends[i + 1] - ends[i] if len(valid) == 0 or valid[i] else 0)


@kernel
def put_texts(out: U8, at: I64, ends: I64, content: U8, prefix: U8, valid: Mask) -> None:
    """Write a column of texts, each after `prefix`."""
    for i in range(len(at)):
        if len(valid) and not valid[i]:
            at[i] = put(out, at[i], np.uint64(0xFFFFFFFF), 4)
            continue
        place = put(out, at[i], np.uint64(len(prefix) + ends[i + 1] - ends[i]), 4)
        for byte in range(len(prefix)):
            out[place] = prefix[byte]
            place += 1
        for byte in range(ends[i], ends[i + 1]):
            out[place] = content[byte]
            place += 1
        at[i] = place
