"""Lines of candump logs that tests of ingest are made of, a few J1939 messages with known values, and a DBC of them."""

from pathlib import Path
from typing import Final

SMALL_DBC: Final = """VERSION ""
NS_ :
BS_:
BU_: X
BO_ 2566844158 ET1: 8 X
 SG_ EngCoolantTemp : 0|8@1+ (1,-40) [-40|210] "degC" X
BO_ 2364540158 EEC1: 8 X
 SG_ EngSpeed : 24|16@1+ (0.125,0) [0|8031.875] "rpm" X
BO_ 2566843646 VI: 17 X
 SG_ VehicleIdentificationNumber : 0|136@1+ (1,0) [0|0] "" X
BA_DEF_ SG_ "SPN" INT 0 524287;
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "SPN" 0;
BA_DEF_DEF_ "VFrameFormat" "J1939PG";
BA_ "SPN" SG_ 2566844158 EngCoolantTemp 110;
BA_ "SPN" SG_ 2364540158 EngSpeed 190;
BA_ "SPN" SG_ 2566843646 VehicleIdentificationNumber 237;
"""
"""The messages that the functions below write: few signals, so that making their tables takes few statements."""


def coolant(seconds: float, temperature_c: int, source_address: int = 0, channel: str = "can0") -> str:
    """ET1 (PGN 65262): byte 1 is the coolant temperature, offset -40."""
    return f"({seconds:.6f}) {channel} 18FEEE{source_address:02X}#{temperature_c + 40:02X}FFFFFFFFFFFFFF\n"


def engine_speed(seconds: float, speed_rpm: int, source_address: int = 0, channel: str = "can0") -> str:
    """EEC1 (PGN 61444): bytes 4 and 5 are the engine speed, 0.125 rpm a bit."""
    speed = (speed_rpm * 8).to_bytes(2, "little").hex().upper()
    return f"({seconds:.6f}) {channel} 0CF004{source_address:02X}#FFFFFF{speed}FFFFFF\n"


def trouble_code(seconds: float, spn: int, fmi: int, n_times: int = 1, source_address: int = 0) -> str:
    """DM1 (PGN 65226) with one code, the red lamp on."""
    code = bytes([spn & 0xFF, spn >> 8 & 0xFF, (spn >> 16) << 5 | fmi, n_times])
    return f"({seconds:.6f}) can0 18FECA{source_address:02X}#10FF{code.hex().upper()}FFFF\n"


def broadcast(seconds: int, pgn: int, payload: bytes) -> str:
    """A message of more than 8 bytes, in packets, to all (SAE J1939-21, BAM)."""
    packets = [payload[at : at + 7].ljust(7, b"\xff") for at in range(0, len(payload), 7)]
    control = f"20{len(payload):02X}00{len(packets):02X}FF{pgn.to_bytes(3, 'little').hex().upper()}"
    lines = [f"({seconds}.000000) can0 1CECFF00#{control}\n"]
    lines += [
        f"({seconds}.{number:02}0000) can0 1CEBFF00#{number:02X}{packet.hex().upper()}\n"
        for number, packet in enumerate(packets, 1)
    ]
    return "".join(lines)


def vehicle_identification(seconds: int, vin: str) -> str:
    """VI (PGN 65260): the VIN, ended by an asterisk."""
    return broadcast(seconds, 65260, f"{vin}*".encode("ascii"))


def written(path: Path, *lines: str) -> Path:
    """The file at `path`, with these lines."""
    path.write_text("".join(lines), encoding="ascii")
    return path
