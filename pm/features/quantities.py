"""Which signals and trouble codes speak of which quantity and component.

What belongs here: the J1939 names (J1939-71 signals as the shipped DBC spells them, J1939-73 SPNs)
behind each quantity that features are made of. A fleet with other names maps them here.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Quantity:
    """One physical quantity; `sources` are `message.signal`, the first that a truck has is used."""

    name: str
    unit: str
    meaning: str
    sources: tuple[str, ...]


QUANTITIES: Final = (
    Quantity("coolant_c", "°C", "coolant temperature", ("ET1.EngCoolantTemp",)),
    Quantity("coolant_level_pct", "%", "coolant level", ("EFL_P1.EngCoolantLevel",)),
    Quantity("coolant_kpa", "kPa", "coolant pressure", ("EFL_P1.EngCoolantPressure",)),
    Quantity("oil_c", "°C", "engine oil temperature", ("ET1.EngOilTemp1",)),
    Quantity("oil_kpa", "kPa", "engine oil pressure", ("EFL_P1.EngOilPressure",)),
    Quantity("supply_air_kpa", "kPa", "air supply pressure", ("AIR1.PneumaticSupplyPressure",)),
    Quantity("brake_1_kpa", "kPa", "air pressure of brake circuit 1", ("AIR1.ServiceBrakeCircuit1AirPressure",)),
    Quantity("brake_2_kpa", "kPa", "air pressure of brake circuit 2", ("AIR1.ServiceBrakeCircuit2AirPressure",)),
    Quantity("compressor_share", "1", "share of time the air compressor pumps", ("AIR1.AirCompressorStatus",)),
    Quantity("charging_v", "V", "charging voltage", ("VEP1.ChargingSystemPotential",)),
    Quantity(
        "battery_v", "V", "battery voltage", ("VEP1.BatteryPotential_PowerInput1", "VEP1.KeyswitchBatteryPotential")
    ),
    Quantity("battery_a", "A", "current into the battery", ("VEP1.NetBatteryCurrent",)),
    Quantity("alternator_a", "A", "alternator current", ("VEP1.AlternatorCurrent",)),
    Quantity("engine_rpm", "rpm", "engine speed", ("EEC1.EngSpeed",)),
    Quantity("speed_kmh", "km/h", "road speed", ("CCVS1.WheelBasedVehicleSpeed", "TCO1.TachographVehicleSpeed")),
    Quantity("load_pct", "%", "engine load", ("EEC2.EngPercentLoadAtCurrentSpeed",)),
    Quantity("boost_kpa", "kPa", "boost pressure", ("IC1.EngIntakeManifold1Pressure",)),
    Quantity("exhaust_c", "°C", "exhaust temperature", ("IC1.EngExhaustTemp",)),
    Quantity("turbo_rpm", "rpm", "turbocharger speed", ("TC.EngTurbo1Speed",)),
    Quantity("vgt_pct", "%", "position of the turbocharger's variable geometry", ("EEC6.EngVarGeomTurboActuator1",)),
    Quantity("inlet_air_kg_h", "kg/h", "inlet air mass flow", ("EGF1.EngInletAirMassFlowRate",)),
    Quantity("soot_load_pct", "%", "soot load of the particulate filter", ("AT1S1.Aft1DPFSootLoadPercent",)),
    Quantity(
        "since_regeneration_s",
        "s",
        "time since the last active regeneration ended",
        ("AT1S1.Aft1DPFTimeSinceLastActiveRegen",),
    ),
    Quantity(
        "regeneration_share",
        "1",
        "share of time the particulate filter regenerates",
        ("DPFC1.Aft1DPFActiveRegenStatus",),
    ),
    Quantity("dpf_kpa", "kPa", "pressure drop over the particulate filter", ("AT1IMG.Aft1DPFDifferentialPressure",)),
    Quantity("dpf_outlet_c", "°C", "gas temperature behind the particulate filter", ("AT1OG2.Aft1DPFOutletTemp",)),
    Quantity("nox_in_ppm", "ppm", "NOx before the SCR catalyst", ("AT1IG1.Aftertreatment1IntakeNOx",)),
    Quantity("nox_out_ppm", "ppm", "NOx behind the SCR catalyst", ("AT1OG1.Aftertreatment1OutletNOx",)),
    Quantity("def_g_h", "g/h", "diesel exhaust fluid dosed", ("A1SCRDSI1.Aft1DEFActualDosingQuantity",)),
    Quantity("doser_kpa", "kPa", "pressure at the fluid doser", ("A1SCRDSI1.Aft1DEFDoserAbsPressure",)),
    Quantity("rail_mpa", "MPa", "fuel rail pressure", ("EFL_P2.EngInjMeteringRail1Pressure",)),
    Quantity("rail_wanted_mpa", "MPa", "commanded fuel rail pressure", ("EEC9.EngCommandedFuelRailPressure",)),
    Quantity("fuel_l_h", "l/h", "fuel rate", ("LFE1.EngFuelRate",)),
    Quantity("ambient_c", "°C", "outside temperature", ("AMB.AmbientAirTemp",)),
    Quantity("odometer_km", "km", "odometer reading", ("VDHR.HighResTotalVehicleDistance", "VD.TotalVehicleDistance")),
    Quantity("engine_h", "h", "reading of the engine hour meter", ("HOURS.EngTotalHoursOfOperation",)),
)
BY_NAME: Final = {quantity.name: quantity for quantity in QUANTITIES}

COMPONENT_WORDS: Final = {
    "cooling": "the cooling system",
    "brakes_air": "the air and brake system",
    "charging_starting": "the charging and starting system",
    "aftertreatment": "the exhaust aftertreatment",
    "turbo": "the turbocharger",
    "fuel_injection": "the fuel injection",
}

COMPONENT_SPNS: Final[dict[str, frozenset[int]]] = {
    # coolant pressure, temperature, level, filter; fan clutch, estimated, requested and real fan speed
    "cooling": frozenset({109, 110, 111, 112, 647, 975, 986, 1639}),
    # supply, brake application, primary, secondary, trailer, circuits 1 and 2, auxiliary, suspension, compressor
    "brakes_air": frozenset({46, 116, 117, 118, 1086, 1087, 1088, 1089, 1090, 1351}),
    # battery and alternator currents, keyswitch, charging and battery voltages, starter relay, mode, alternator state
    "charging_starting": frozenset({114, 115, 158, 167, 168, 444, 677, 1675, 3353}),
    # intake and outlet NOx, filter temperatures and pressure drop, regeneration status, soot, ash, time since
    # regeneration; dosing, doser pressure, SCR temperature, conversion; fluid level and temperature, soot threshold
    "aftertreatment": frozenset(
        {81, 1761, 3031, 3216, 3226, 3242, 3246, 3251, 3700, 3719, 3720, 3721, 4331, 4334, 4360, 4364, 5466}
    ),
    # boost, turbocharger speed, oil pressure, VGT actuator, wastegate, exhaust temperature, VGT position
    "turbo": frozenset({102, 103, 104, 173, 641, 1127, 1188, 2795}),
    # delivery, timing and metering rails, commanded rail; injectors 1 to 8, metering valve, misfire of any or one
    "fuel_injection": frozenset({94, 156, 157, 164, *range(651, 659), 1076, 1322, *range(1323, 1331), 1349, 5313}),
}
"""J1939 SPNs whose trouble codes point at a component."""

COMPONENT_QUANTITIES: Final[dict[str, tuple[str, ...]]] = {
    "cooling": ("coolant_c", "coolant_level_pct", "coolant_kpa", "oil_c"),
    "brakes_air": ("supply_air_kpa", "brake_1_kpa", "brake_2_kpa", "compressor_share"),
    "charging_starting": ("charging_v", "battery_v", "battery_a", "alternator_a"),
    "aftertreatment": (
        "soot_load_pct", "since_regeneration_s", "regeneration_share", "dpf_kpa", "dpf_outlet_c", "nox_in_ppm",
        "nox_out_ppm", "def_g_h", "doser_kpa", "exhaust_c",
    ),
    "turbo": ("turbo_rpm", "vgt_pct", "inlet_air_kg_h", "boost_kpa", "exhaust_c", "oil_kpa"),
    "fuel_injection": ("rail_mpa", "rail_wanted_mpa", "fuel_l_h"),
}  # fmt: skip
"""Quantities that the wear of a component shows in; one of no component (speed, load, outside temperature) tells how
and where a truck is used, whatever wears."""
