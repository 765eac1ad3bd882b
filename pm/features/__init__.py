"""From decoded telemetry to one vector a vehicle and as-of: dailies, then windows.

What belongs here: pure computation on frames. Reading and storing them is `pm.store`; what a label
is, is `pm.labels`.
"""
