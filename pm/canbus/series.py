"""Which message each frame is, and from whom to whom.

What belongs here: a table of the identifiers seen in one log. All work on an identifier (J1939
fields, which message of the DBC) is done once, when it first appears; a frame then only looks up
its series number. A series is (message, channel, source, destination).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.canbus.dbc import SignalDatabase
from pm.canbus.formats.block import I64, FrameBlock
from pm.canbus.j1939 import FIRST_PDU2_FORMAT, GLOBAL_ADDRESS, NO_ADDRESS, PGN_DM1, PGN_TP_CM, PGN_TP_DT, pgn_of_id

NO_MESSAGE: Final = -1
TRANSPORT_CONTROL: Final = -2
TRANSPORT_DATA: Final = -3

I32 = NDArray[np.int32]
_ROLE_OF_PGN: Final = {PGN_TP_CM: TRANSPORT_CONTROL, PGN_TP_DT: TRANSPORT_DATA}
_EXTENDED: Final = 1 << 29
_CHANNEL_SHIFT: Final = 30


class SeriesTable:
    """Series of one log; the public arrays have one element a series."""

    def __init__(self, database: SignalDatabase) -> None:
        self._by_key = {message.key: index for index, message in enumerate(database.messages)}
        self._keys: I64 = np.empty(0, dtype=np.int64)
        self._series: I32 = np.empty(0, dtype=np.int32)
        self._numbers: dict[tuple[int, int, int, int, bool], int] = {}
        self.message: NDArray[np.int16] = np.empty(0, dtype=np.int16)
        """Index into the database's messages, or one of the negative roles above."""
        self.channel: NDArray[np.int16] = np.empty(0, dtype=np.int16)
        self.source: NDArray[np.int16] = np.empty(0, dtype=np.int16)
        self.destination: NDArray[np.int16] = np.empty(0, dtype=np.int16)
        self.is_dm1: NDArray[np.bool_] = np.empty(0, dtype=np.bool_)

    def of_block(self, block: FrameBlock) -> I32:
        """Series number of each frame."""
        keys = block.can_id.astype(np.int64)
        keys += block.is_extended.astype(np.int64) * _EXTENDED
        keys += block.channel.astype(np.int64) << _CHANNEL_SHIFT
        found = self._find(keys)
        if found is None:
            self._learn(np.setdiff1d(keys, self._keys))
            found = self._find(keys)
        assert found is not None  # noqa: S101 - every key was just learnt
        return found

    def of_message(self, pgn: int, channel: int, source: int, destination: int) -> int:
        """Series number of a reassembled message."""
        index = self._by_key.get(("pgn", pgn, True), NO_MESSAGE)
        return self._number(index, channel, source, destination, is_dm1=pgn == PGN_DM1)

    def _find(self, keys: I64) -> I32 | None:
        if not len(self._keys):
            return None
        place = np.searchsorted(self._keys, keys)
        np.minimum(place, len(self._keys) - 1, out=place)
        return self._series[place] if (self._keys[place] == keys).all() else None

    def _learn(self, keys: I64) -> None:
        numbers = np.array([self._classify(key) for key in keys.tolist()], dtype=np.int32)
        joined = np.concatenate([self._keys, keys])
        order = np.argsort(joined)
        self._keys, self._series = joined[order], np.concatenate([self._series, numbers])[order]

    def _classify(self, key: int) -> int:
        can_id, is_extended, channel = key & (_EXTENDED - 1), bool(key & _EXTENDED), key >> _CHANNEL_SHIFT
        index = self._by_key.get(("id", can_id, is_extended), NO_MESSAGE)
        if not is_extended:
            return self._number(index, channel, NO_ADDRESS, NO_ADDRESS, is_dm1=False)
        pgn, source, specific = pgn_of_id(can_id), can_id & 0xFF, (can_id >> 8) & 0xFF
        destination = GLOBAL_ADDRESS if (can_id >> 16) & 0xFF >= FIRST_PDU2_FORMAT else specific
        if index == NO_MESSAGE:
            index = _ROLE_OF_PGN.get(pgn, self._by_key.get(("pgn", pgn, True), NO_MESSAGE))
        return self._number(index, channel, source, destination, is_dm1=pgn == PGN_DM1)

    def _number(self, index: int, channel: int, source: int, destination: int, *, is_dm1: bool) -> int:
        if index == NO_MESSAGE and not is_dm1:
            channel = source = destination = NO_ADDRESS  # one number for all that no message matches
        key = (index, channel, source, destination, is_dm1)
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers)
            self.message = np.append(self.message, np.int16(index))
            self.channel = np.append(self.channel, np.int16(channel))
            self.source = np.append(self.source, np.int16(source))
            self.destination = np.append(self.destination, np.int16(destination))
            self.is_dm1 = np.append(self.is_dm1, is_dm1)
        return self._numbers[key]
