"""A simulated fleet with known truth, written as real CAN logs and work orders.

What belongs here: physics thin enough to read and plausible enough for a truck engineer
(`docs/simulation.md`). Nothing downstream may read the truth it writes.
"""

from pm.simulate.fleet import FleetConfig
from pm.simulate.run import SimulationReport, simulate

__all__ = ["FleetConfig", "SimulationReport", "simulate"]
