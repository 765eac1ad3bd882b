"""Damaged logs through the whole decoder: small logs of every format, damage, and a run with limits.

As a program (`python canbus_fuzz.py <folder> <cases a format> <first seed>`) it reads damaged logs one
after the other, the one at hand kept in the folder, and ends with 1 at the first that raises anything
but the product's own errors, shows an index out of bounds, or needs too much time or memory.
"""

import faulthandler
import gzip
import io
import resource
import struct
import sys
import time
import zipfile
from contextlib import suppress
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from random import Random
from typing import Final

import can
from can.io.trc import TRCFileVersion

from pm.canbus.dbc import SignalDatabase, load_dbc
from pm.canbus.decode import LogDecoder
from pm.canbus.logfile import open_log
from pm.errors import ConfigError, DataError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
START_S: Final = 1_600_000_000.0
CASE_S: Final = 5
HANG_S: Final = 120
"""Compiling a kernel that the whole logs did not need takes a part of it on a busy machine."""
GROWTH_BYTES: Final = 250 << 20
DBC: Final = (
    'VERSION ""\nNS_ :\nBS_:\nBU_:\n'
    'BO_ 2566844926 CCVS: 8 X\n SG_ Speed : 8|16@1+ (0.00390625,0) [0|250] "km/h" X\n\n'
    'BO_ 2566843646 VI: 17 X\n SG_ VIN : 0|136@1+ (1,0) [0|0] "" X\n\n'
    'BO_ 291 Mux: 64 X\n SG_ m M : 0|4@1+ (1,0) [0|0] "" X\n SG_ a m1 : 7|64@0- (2,1) [0|0] "" X\n'
    ' SG_ b m2 : 448|64@1- (1,0) [0|0] "" X\n\n'
    'BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";\n'
    'BA_DEF_DEF_ "VFrameFormat" "J1939PG";\nSIG_VALTYPE_ 291 b : 2;\n'
)
_HIDDEN: Final = ("out of bounds", "IndexError", "MemoryError", "Unable to allocate", "RecursionError")
_NUMBERS: Final = [
    struct.pack(form, number)
    for form in ("<H", "<I", "<Q")
    for number in (0, 1, 0x7FFF, 0x8000, 0xFFFF, *((1 << 31) - 1, 1 << 31, (1 << 32) - 1) * (form != "<H"))
]
_SPY: Final = (
    "Vehicle Spy 3 Bus Traffic File\r\nStart Date,6/29/2018\r\nStart Time,1:00:47 PM\r\n\r\n"
    "Line,Abs Time(Sec),Rel Time (Sec),Status,Er,Tx,Description,Network,Node,Arb ID,Remote/EDL-BRS-ESI,Xtd,"
    "B1,B2,B3,B4,B5,B6,B7,B8,Value,Trigger,Signals\r\n"
)


class _Trc1Writer(can.TRCWriter):  # type: ignore[misc]
    """Writes version 1.0, which python-can does on request only."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.file_version = TRCFileVersion.V1_0


def messages() -> list[can.Message]:
    """Frames with a DM1 and a VIN by transport protocol, single signals, CAN FD, remote and error frames."""
    vin = b"1XKYDP9X7FJ469058*"
    frames = [
        (0x18FEF100, b"\xff\x10\x20\xff\xff\xff\xff\xff"),
        (0x123, bytes(8)),
        (0x18FECA00, b"\x04\xff\xbf\0\t\x08\xff\xff"),
    ]
    frames.append((0x1CECFF00, b"\x20\x12\x00\x03\xff\xec\xfe\x00"))
    frames += [(0x1CEBFF00, bytes([n + 1]) + vin[7 * n : 7 * n + 7].ljust(7, b"\xff")) for n in range(3)]
    frames += [(0x1CECFF31, b"\x20\x0a\x00\x02\xff\xca\xfe\x00"), (0x1CEBFF31, b"\x01\x43\xff\xbf\x00\x09\x08\x54")]
    frames += [(0x1CEBFF31, b"\x02\x00\x09\x08\xff\xff\xff\xff"), (0x7FF, b"\x01"), (0x18FEF131, b"")]
    made = []
    for at in range(3 * len(frames)):
        can_id, data = frames[at % len(frames)]
        wide = at % 17 == 1
        made.append(
            can.Message(
                timestamp=START_S + at * 0.01, arbitration_id=can_id, is_extended_id=can_id > 0x7FF, channel=at % 2,
                data=bytes(range(64)) if wide else data, is_fd=wide, bitrate_switch=wide,
                is_remote_frame=at == 20, is_error_frame=at == 30,
            )
        )  # fmt: skip
    return made


def samples(folder: Path) -> dict[str, bytes]:
    """A whole log of every format, by name of the format."""
    found: dict[str, bytes] = {}
    classic = [message for message in messages() if not message.is_fd]

    def write(name: str, suffix: str, writer: object, frames: list[can.Message], **options: object) -> None:
        path = folder / f"sample.{suffix}"
        with writer(path, **options) as out:  # type: ignore[operator]
            for message in frames:
                out.on_message_received(message)
        found[name] = path.read_bytes()

    write("candump", "log", can.CanutilsLogWriter, messages(), channel="vcan0")
    write("asc", "asc", can.ASCWriter, messages())
    write("csv", "csv", can.CSVWriter, classic)
    write("trc", "trc", can.TRCWriter, classic)
    write("trc_1", "trc", _Trc1Writer, classic)
    write("blf", "blf", can.BLFWriter, messages())
    write("blf_stored", "blf", can.BLFWriter, messages(), compression_level=0)
    with suppress(NotImplementedError):  # asammdf is an optional extra
        write("mf4", "mf4", can.MF4Writer, messages())
    found["screen"] = "".join(
        f" ({at * 0.01:010.6f})  can{at % 2}  {m.arbitration_id:{'08X' if m.is_extended_id else '03X'}}"
        f"   [{len(m.data)}]  {m.data.hex(' ').upper()}\n"
        for at, m in enumerate(classic)
    ).encode()
    found["spy"] = _SPY.encode() + b"".join(
        f"{at},{at * 0.01:.6f},0.01,0,F,F,x,HS CAN,,{m.arbitration_id:X},F,{'T' if m.is_extended_id else 'F'},"
        f"{','.join(f'{byte:X}' for byte in m.data)}{',' * (8 - len(m.data))},,,\r\n".encode()
        for at, m in enumerate(classic)
    )
    found["vector"] = b"Time,Chn,ID,Dir,DLC,Data\n" + b"".join(
        f"{at * 0.01:.6f},CAN 1,{m.arbitration_id:X}{'x' * m.is_extended_id},Rx,"
        f"{len(m.data)},{m.data.hex(' ')}\n".encode()
        for at, m in enumerate(classic)
    )
    found["gzip"] = gzip.compress(found["candump"])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.log", found["candump"])
    found["zip"] = packed.getvalue()
    return found


def damaged(content: bytes, rng: Random, others: list[bytes]) -> bytes:
    """`content` with one to eight faults: bytes, numbers, pieces moved, repeated, left out or of another log."""
    made = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(made) + 1)
        size = rng.choice((1, 1, 2, 4, 8, 64, 1000))
        match rng.randrange(9):
            case 0:
                made[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                made[at : at + size] = rng.randbytes(size)
            case 2:
                number = rng.choice(_NUMBERS)
                made[at : at + len(number)] = number
            case 3:
                del made[at : at + size]
            case 4:
                made[at:at] = made[at : at + size] * rng.choice((1, 2, 50))
            case 5:
                del made[at:]
            case 6:
                other = rng.choice(others)
                begin = rng.randrange(len(other))
                made[at:at] = other[begin : begin + size]
            case 7:
                lines = bytes(made).split(b"\n")
                rng.shuffle(lines)
                made = bytearray(b"\n".join(lines))
            case _:
                found = [i for i, byte in enumerate(made) if byte in b"0123456789abcdefABCDEF#., \r\n"]
                if found:
                    made[rng.choice(found)] = rng.choice(b"09fFx#.,-+ \r\n\0\xff")
    return bytes(made)


def timed_fault_of(path: Path, database: SignalDatabase, *, period_s: float = 0.0) -> tuple[str | None, float]:
    """`fault_of` and its seconds; more than `CASE_S` is a fault too, unless they went into compiling a kernel."""
    took = 0.0
    for _ in range(2):
        began = time.perf_counter()
        said = fault_of(path, database, period_s=period_s)
        took = time.perf_counter() - began
        if said or took < CASE_S:
            return said, took
    return f"{took:.1f} s", took


def fault_of(path: Path, database: SignalDatabase, *, period_s: float = 0.0) -> str | None:
    """Decode the log at `path`; what is wrong with how it went, None if nothing is."""
    decoder = LogDecoder(database, sample_period_s=period_s)
    try:
        for batch in decoder.batches(open_log(path, start=EPOCH)):
            for frame in batch.signals.values():
                frame.rows()
        report = decoder.report
    except (DataError, ConfigError) as reason:
        said = str(reason)
        return said if any(word in said for word in _HIDDEN) else None
    except Exception as reason:
        return f"{type(reason).__name__}: {reason}"
    accounted = report.n_decoded + report.n_transport + report.rejected.get("not_in_dbc", 0)
    return None if report.n_frames == accounted else f"{report.n_frames} frames, {accounted} of them accounted for"


def first_fault(folder: Path, n_cases: int, first_seed: int) -> tuple[bool, str]:
    """(whether a damaged log shows a fault, which or how it went without one)."""
    dbc = folder / "fuzz.dbc"
    dbc.write_text(DBC)
    database = load_dbc([dbc])
    wholes = samples(folder)
    for name, content in wholes.items():  # also compiles the kernels, which takes its time
        path = folder / f"whole.{name}"
        path.write_bytes(content)
        log = open_log(path, start=EPOCH)
        n_frames = sum(len(block) for block in log.blocks())
        said = fault_of(path, database) or fault_of(path, database, period_s=1.0)
        if said or n_frames < len(messages()) // 2:
            return True, f"whole {name}: {said or f'{n_frames} frames, and {log.rejected}'}"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown, slowest, others = 0, (0.0, ""), list(wholes.values())
    for name, seed in product(wholes, range(first_seed, first_seed + n_cases)):
        path = folder / f"case.{name}"
        path.write_bytes(damaged(wholes[name], Random(f"{name} {seed}"), others))
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        said, took = timed_fault_of(path, database, period_s=seed % 2)
        slowest = max(slowest, (took, f"{name} {seed}"))
        faulthandler.cancel_dump_traceback_later()
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
        if grown > GROWTH_BYTES:
            said = f"{grown >> 20} MB more memory than for whole logs"
        if said:
            return True, f"{name} {seed} ({path}): {said}"
    n_cases *= len(wholes)
    return (
        False,
        f"{n_cases} logs, slowest {slowest[0]:.2f} s ({slowest[1]}), {grown >> 20} MB more than for whole logs",
    )


def main() -> int:
    failed, said = first_fault(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write(f"{said}\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
