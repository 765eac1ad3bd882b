"""CAN logs: files in, frames, signals and trouble codes out (`logfile`, `dbc`, `decode`).

What belongs here: log formats, J1939 and DBC. Not here: files or tables to write, vehicles, features.
"""
