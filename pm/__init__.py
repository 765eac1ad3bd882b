"""Predictive maintenance for truck fleets from CAN data.

Rooms stand in data-flow order and import upstream only (`docs/architecture.md`).
"""

from typing import Final

__version__: Final = "0.1.0"
