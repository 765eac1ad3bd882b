"""Signals of the engine: speed, temperatures, fluids, intake, turbocharger, fuel.

What belongs here: values at given moments, from the drive and from the symptoms of cooling,
turbocharger and injection. What comes behind the engine is `pm.simulate.signals_exhaust`.
"""

import numpy as np

from pm.simulate.moments import Floats, Moments, Truck


def engine(truck: Truck, at: Moments) -> dict[str, Floats]:
    load, rpm = truck.drive.load[at.point], truck.drive.engine_rpm[at.point]
    # A cylinder that gives more or less than the others is felt at idle; under load the masses hide it.
    uneven = np.where(rpm < 700.0, 24.0, 6.0) * truck.symptom("injector", at)
    return {
        "EngSpeed": rpm + truck.noise(at, 9.0 + uneven),
        "ActualEngPercentTorque": 100.0 * load + truck.noise(at, 1.5),
        "DriversDemandEngPercentTorque": 100.0 * load + truck.noise(at, 3.0),
        "EngStarterMode": np.full(len(load), 3.0),
    }


def cranking(truck: Truck, at: Moments) -> dict[str, Floats]:
    weak = truck.symptom("battery", at) + 0.3 * truck.symptom("alternator", at)
    cranks = at.after_s < 3.0
    rpm = np.where(cranks, 190.0 - 38.0 * weak + truck.noise(at, 9.0), 690.0 + truck.noise(at, 12.0))
    return {"EngSpeed": np.maximum(rpm, 60.0), "EngStarterMode": np.where(cranks, 2.0, 3.0)}


def pedal(truck: Truck, at: Moments) -> dict[str, Floats]:
    load = truck.drive.load[at.point]
    idle = truck.drive.speed_kmh[at.point] < 1.0
    return {
        "AccelPedalPos1": np.where(idle, 0.0, np.clip(100.0 * load + truck.noise(at, 3.0), 0.0, 100.0)),
        "EngPercentLoadAtCurrentSpeed": np.clip(100.0 * load + truck.noise(at, 2.0), 0.0, 100.0),
    }


def temperatures(truck: Truck, at: Moments) -> dict[str, Floats]:
    coolant = truck.drive.coolant_c[at.point]
    oil = coolant + (7.0 + 9.0 * truck.drive.thermal_load[at.point]) * (1.0 - np.exp(-at.after_s / 1500.0))
    has_fuel = np.nan if truck.vehicle.model.name.startswith("Vesper") else 1.0
    return {
        "EngCoolantTemp": coolant + truck.noise(at, 0.7),
        "EngOilTemp1": oil + truck.noise(at, 0.5),
        "EngFuelTemp1": has_fuel * (truck.drive.outside_c[at.point] + 18.0 + truck.noise(at, 1.5)),
        "EngIntercoolerTemp": truck.drive.outside_c[at.point] + 16.0 + truck.noise(at, 1.5),
    }


def fluids(truck: Truck, at: Moments) -> dict[str, Floats]:
    leak = truck.symptoms["leak"]
    # The driver tops up when the lamp comes on, so the level is a saw-tooth and not a straight fall.
    lost = (np.cumsum(0.18 * leak) % 1.0)[at.day] * np.minimum(1.0, 4.0 * leak[at.day])
    coolant = truck.drive.coolant_c[at.point]
    expanded = np.clip((coolant - 20.0) / 70.0, 0.0, 1.3)
    pressure = 12.0 + 78.0 * expanded - 42.0 * leak[at.day] + 12.0 * truck.symptom("flow", at)
    oil_pressure = 130.0 + 0.22 * truck.drive.engine_rpm[at.point] - 0.6 * (coolant - 85.0)
    level = 88.0 - 38.0 * lost + 4.0 * expanded + truck.noise(at, 3.0)
    # Float sensors swing in curves; the controller sends "not available" until the level has settled.
    level[truck.rng.random(len(level)) < 0.03] = np.nan
    return {
        "EngCoolantLevel": np.clip(level, 0.0, 100.0),
        "EngCoolantPressure": np.maximum(pressure + truck.noise(at, 5.0), 0.0),
        "EngOilPressure": oil_pressure + truck.noise(at, 12.0),
        # Worn shaft seals pass oil out and exhaust gas into the crankcase.
        "EngOilLevel": np.clip(78.0 - 7.0 * truck.symptom("rotor", at) + truck.noise(at, 6.0), 0.0, 100.0),
        "EngFuelDeliveryPressure": 480.0 - 14.0 * truck.symptom("rail", at) + truck.noise(at, 20.0),
        "EngCrankcasePressure": 0.6 + 0.35 * truck.symptom("rotor", at) + truck.noise(at, 0.3),
    }


def boost_kpa(truck: Truck, at: Moments) -> Floats:
    """Boost at the moments, without the sensor's noise: it grows with load, and wear takes its share at load."""
    load = truck.drive.load[at.point]
    full = (150.0 + 2.3 * truck.vehicle.model.litres_100km) * truck.levels.boost
    lost = 0.15 * truck.symptom("vanes", at) + 0.19 * truck.symptom("rotor", at)
    return np.asarray(12.0 + full * load * (1.0 - np.minimum(lost, 0.45)))


def intake(truck: Truck, at: Moments) -> dict[str, Floats]:
    load, outside = truck.drive.load[at.point], truck.drive.outside_c[at.point]
    vanes, rotor = truck.symptom("vanes", at), truck.symptom("rotor", at)
    sticking = truck.noise(at, 5.0 + 16.0 * vanes * load)
    # Less air for the same fuel, or more fuel for the same work, is hotter exhaust.
    hotter = (38.0 * vanes + 52.0 * rotor + 44.0 * truck.symptom("injector", at)) * load
    burning = 55.0 * truck.soot.is_active[at.point]
    exhaust = (160.0 + 290.0 * truck.drive.thermal_load[at.point]) * truck.levels.exhaust + hotter + burning
    return {
        "EngIntakeManifold1Pressure": np.maximum(boost_kpa(truck, at) + sticking, 0.0),
        "EngIntakeManifold1Temp": outside + 14.0 + 18.0 * load + 5.0 * rotor * load + truck.noise(at, 1.0),
        "EngIntakeAirPressure": 100.0 + truck.noise(at, 1.0),
        "EngAirFilter1DifferentialPressure": np.maximum(1.0 + 2.2 * load + truck.noise(at, 0.1), 0.0),
        "EngExhaustTemp": exhaust + truck.noise(at, 12.0),
    }


def turbocharger(truck: Truck, at: Moments) -> dict[str, Floats]:
    load, rpm = truck.drive.load[at.point], truck.drive.engine_rpm[at.point]
    slower = 1.0 - 0.05 * truck.symptom("vanes", at) - 0.11 * truck.symptom("rotor", at)
    speed = (14_000.0 + 86_000.0 * np.sqrt(load * rpm / 1500.0)) * slower * (1.0 + 0.4 * (truck.levels.boost - 1.0))
    oil = 110.0 + 0.20 * rpm - 26.0 * truck.symptom("rotor", at)
    return {
        "EngTurbo1Speed": np.maximum(speed + truck.noise(at, 1500.0), 0.0),
        "EngTurboLubeOilPressure1": np.maximum(oil + truck.noise(at, 12.0), 0.0),
    }


def turbo_geometry(truck: Truck, at: Moments) -> dict[str, Floats]:
    # The controller closes the vanes to get the boost it wants; sooted ones follow late.
    vanes, rotor = truck.symptom("vanes", at), truck.symptom("rotor", at)
    position = 68.0 - 42.0 * truck.drive.load[at.point] + 9.0 * vanes + 6.0 * rotor
    return {"EngVarGeomTurboActuator1": np.clip(position + truck.noise(at, 3.0 + 5.0 * vanes), 0.0, 100.0)}


def air_flow(truck: Truck, at: Moments) -> dict[str, Floats]:
    """Speed-density: what an engine of 12 l draws in at its manifold's pressure and temperature."""
    kelvin = truck.drive.outside_c[at.point] + 273.0 + 14.0 + 18.0 * truck.drive.load[at.point]
    density = 1.2 * (1.0 + boost_kpa(truck, at) / 100.0) * 293.0 / kelvin
    flow = truck.drive.engine_rpm[at.point] / 2.0 * 0.012 * 60.0 * 0.88 * density
    return {"EngInletAirMassFlowRate": np.maximum(flow + truck.noise(at, 0.02 * flow), 0.0)}


def fuel(truck: Truck, at: Moments) -> dict[str, Floats]:
    load, speed = truck.drive.load[at.point], truck.drive.speed_kmh[at.point]
    rate = np.maximum(2.0 + 0.55 * truck.vehicle.model.litres_100km * load * (0.5 + speed / 80.0), 0.5)
    more = 0.11 * truck.symptom("injector", at) + 0.03 * truck.symptom("rail", at)
    more += 0.04 * (truck.symptom("vanes", at) + truck.symptom("rotor", at))
    rate = rate * (1.0 + more * load) + 1.6 * truck.soot.is_active[at.point]
    return {
        "EngFuelRate": rate + truck.noise(at, 0.2),
        "EngInstantaneousFuelEconomy": speed / rate,
        "EngAverageFuelEconomy": np.full(len(rate), 100.0 / truck.vehicle.model.litres_100km),
        "EngThrottleValve1Pos1": np.clip(100.0 * load, 0.0, 100.0),
    }


def wanted_rail_mpa(truck: Truck, at: Moments) -> Floats:
    """Rail pressure that the controller asks for, by load and speed (an assumed map)."""
    return np.asarray(42.0 + 118.0 * truck.drive.load[at.point] + 0.012 * truck.drive.engine_rpm[at.point])


def wanted_rail(truck: Truck, at: Moments) -> dict[str, Floats]:
    return {"EngCommandedFuelRailPressure": wanted_rail_mpa(truck, at)}


def rail(truck: Truck, at: Moments) -> dict[str, Floats]:
    wanted, load = wanted_rail_mpa(truck, at), truck.drive.load[at.point]
    worn = truck.symptom("rail", at)
    short = worn * (2.5 + 15.0 * load) + 3.0 * truck.symptom("injector", at) * load
    swings = truck.noise(at, 1.2 + 3.5 * worn)
    return {"EngInjMeteringRail1Pressure": wanted * truck.levels.rail - short + swings}


def rail_start(truck: Truck, at: Moments) -> dict[str, Floats]:
    """While cranking, the pump has to fill the rail before the first injection."""
    worn = truck.symptom("rail", at)
    filled = np.where(at.after_s < 3.0, 27.0 - 6.5 * worn, 44.0 - 2.5 * worn)
    return {"EngInjMeteringRail1Pressure": np.maximum(filled + truck.noise(at, 1.6), 0.0)}


def hours(truck: Truck, at: Moments) -> dict[str, Floats]:
    hours = truck.drive.engine_h[at.point] + (at.after_s % 60) / 3600.0
    return {"EngTotalHoursOfOperation": hours, "EngTotalRevolutions": hours * 60.0 * 1150.0}
