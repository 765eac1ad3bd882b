"""CAN frames as a log file of any of the formats a truck's logger may write.

What belongs here: the formats by name, with their suffix and their writer. A writer is pure: the same
frames give the same bytes, with no clock and no random number in any header. Reading logs is
`pm.canbus.formats`, which shares no code with the writers.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm.simulate.candump import candump_bytes
from pm.simulate.encode import Frames
from pm.simulate.formats_blf import blf_bytes
from pm.simulate.formats_mf4 import mf4_bytes

Writer = Callable[[Frames, NDArray[np.uint8]], bytes]


class LogFormat(NamedTuple):
    """How files of a format are named and written."""

    suffix: str
    write: Writer
    """(frames in time order, number of the bus each came from, 0 the first) -> content of the file."""


FORMATS: Final = {
    "candump": LogFormat(".log", candump_bytes),
    "blf": LogFormat(".blf", blf_bytes),
    "mf4": LogFormat(".mf4", mf4_bytes),
}
