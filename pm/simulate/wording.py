"""What the simulated workshops write on a work order line.

What belongs here: the texts, by what was really done. Which text says which component is decided
elsewhere, by the failure rules a fleet configures; these texts only have to sound like a workshop.
`{km}` is replaced by the odometer reading, `{cylinder}` by a number from 1 to 6.
"""

from typing import Final

FAILURE_TEXTS: Final[dict[str, tuple[str, ...]]] = {
    # cooling
    "leak": (
        "coolant pump leaking, replaced pump and thermostat",
        "water pump seal leaking, pump renewed, coolant refilled",
        "coolant loss, radiator hose burst, hose replaced and system bled",
        "replaced leaking radiator, refilled coolant",
        "Low coolant warning on road. Found water pump weeping, R&R pump",
        "expansion tank cracked, coolant leak, tank replaced",
    ),
    "flow": (
        "engine overheating, thermostat stuck closed, thermostat replaced",
        "overheats under load, fan clutch replaced",
        "high coolant temperature, coolant pump impeller worn, pump replaced",
        "Eng overheat / derate. Replaced viscous fan hub and thermostat",
        "radiator blocked, overheating on grades, radiator replaced",
    ),
    # brakes_air
    "compressor": (
        "air compressor replaced, slow pressure build-up",
        "air pressure builds slowly, compressor head gasket failed, compressor renewed",
        "low air warning, air compressor worn, R&R compressor",
        "compressor passing oil, no air build up, replaced air compressor",
        "air compressor seized, towed in, compressor and line replaced",
    ),
    "dryer": (
        "air dryer cartridge purge valve stuck",
        "air dryer purging constantly, dryer assembly replaced",
        "air governor not cutting out, replaced governor and dryer cartridge",
        "air leak at four circuit protection valve, valve replaced",
        "low brake air pressure circuit 2, leaking air dryer replaced",
    ),
    # charging_starting
    "alternator": (
        "alternator not charging, replaced",
        "no charge, alternator regulator failed, alternator renewed",
        "battery light on, alternator replaced, belt checked",
        "charging voltage low, R&R alternator",
        "Alternator bearing seized, belt thrown, alternator and belt replaced",
    ),
    "battery": (
        "batteries failed load test, replaced pair",
        "no start, batteries dead, replaced both batteries",
        "slow cranking, battery set replaced, cables cleaned",
        "would not crank, jump started, R&R batteries",
        "starter motor replaced, slow crank no start",
    ),
    # aftertreatment
    "filter": (
        "DPF blocked, regen not completing, filter exchanged",
        "constant regen requests, derate, particulate filter replaced",
        "DPF full of ash, back pressure high, R&R DPF",
        "parked regen fails, particulate filter cracked, replaced",
        "soot load high, engine derated on road, DPF renewed",
    ),
    "scr": (
        "SCR efficiency low, DEF doser clogged, doser replaced",
        "NOx too high, SCR catalyst poisoned, catalyst replaced",
        "DEF crystals in dosing valve, valve renewed, SCR inlet cleaned",
        "derate, AdBlue pump failed, supply module replaced",
        "Low DEF pressure, R&R dosing unit",
    ),
    # turbo
    "vanes": (
        "low boost, VGT vanes stuck, turbo replaced",
        "turbo actuator seized, VGT actuator replaced and calibrated",
        "no power on grades, turbocharger nozzle ring sooted, turbo exchanged",
        "boost erratic, R&R turbo actuator",
    ),
    "rotor": (
        "turbo shaft play, oil in intake, turbocharger replaced",
        "low boost and whine, turbo bearings worn, turbo renewed",
        "turbo compressor wheel rubbing on housing, replaced turbo",
        "blue smoke, turbo seal leaking oil, R&R turbo",
    ),
    # fuel_injection
    "rail": (
        "rail pressure low, high pressure pump replaced",
        "long crank, fuel rail pressure not building, metering valve replaced",
        "derate, common rail pressure deviation, HP-pressure pump renewed",
        "engine cuts out, fuel pump worn, R&R high pressure fuel pump",
    ),
    "injector": (
        "rough idle, injector cylinder {cylinder} replaced",
        "misfire cylinder {cylinder}, injector renewed and coded",
        "injector return flow too high, set of injectors replaced",
        "knocking, black smoke, R&R injector {cylinder}",
    ),
}
"""By failure mode (`pm.simulate.components`)."""

PLANNED_TEXTS: Final[dict[str, tuple[str, ...]]] = {
    "cooling": (
        "planned replacement of coolant pump at {km:,.0f} km",
        "scheduled: coolant pump and thermostat renewed by interval",
    ),
    "brakes_air": (
        "planned replacement of air compressor at {km:,.0f} km",
        "scheduled: air dryer and compressor renewed by interval",
    ),
    "charging_starting": (
        "planned replacement of alternator at {km:,.0f} km",
        "scheduled: batteries and alternator renewed by interval",
    ),
    "aftertreatment": (
        "planned DPF exchange at {km:,.0f} km, ash cleaning",
        "scheduled: DEF dosing unit renewed by interval",
    ),
    "turbo": (
        "planned replacement of turbocharger at {km:,.0f} km",
        "scheduled: turbo exchanged by interval",
    ),
    "fuel_injection": (
        "planned replacement of injectors at {km:,.0f} km",
        "scheduled: injector set and high pressure pump renewed by interval",
    ),
}
"""A component replaced before it failed; the order says `planned`."""

NO_TROUBLE_TEXTS: Final[dict[str, tuple[str, ...]]] = {
    "cooling": (
        "checked cooling system, no trouble found",
        "driver reports high coolant temperature, NTF, pressure test ok",
        "coolant warning lamp, could not duplicate, no fault found",
    ),
    "brakes_air": (
        "checked air build-up time, within limits, no trouble found",
        "driver reports low air, no fault found, leak test ok",
        "air compressor checked, NTF",
    ),
    "charging_starting": (
        "charging system tested, no trouble found",
        "driver reports slow crank, batteries tested ok, NTF",
        "battery light reported, alternator output ok, no fault found",
    ),
    "aftertreatment": (
        "driver reports regen lamp, forced regen ok, no trouble found",
        "SCR efficiency code, could not duplicate, no fault found",
        "DEF quality and dosing tested ok, NTF",
    ),
    "turbo": (
        "driver reports lack of power, boost tested ok, NTF",
        "turbo checked for shaft play, within limits, no trouble found",
        "turbo whistle reported, no fault found",
    ),
    "fuel_injection": (
        "rail pressure logged on road test, no trouble found",
        "rough idle reported, injector cut-out test ok, NTF",
        "hard start reported, fuel pump output ok, no fault found",
    ),
}

SERVICE_TEXTS: Final[tuple[str, ...]] = (
    "oil and filter service",
    "preventive maintenance B, oil, fuel and air filters",
    "annual inspection",
    "PM service, grease chassis, oil sample taken",
    "tachograph calibration and service",
)
"""Preventive maintenance; the order says `planned`."""

OTHER_TEXTS: Final[tuple[str, ...]] = (
    "replaced two drive tyres, worn",
    "headlamp bulb replaced left",
    "wiper blades and washer nozzle replaced",
    "exhaust clamp and bracket replaced",
    "mirror glass replaced after damage",
    "fuel filter housing leaking, seal replaced",
    "clutch adjusted",
    "cab suspension bush replaced",
    "NOx sensor replaced downstream",
    "door lock repaired",
)
"""Repairs of what is not modelled."""

UNINFORMATIVE_TEXTS: Final[tuple[str, ...]] = (
    "misc repair",
    "miscellaneous",
    "repair as per driver note",
    "see attached",
)
"""What some shops write, whatever was done."""
