"""Files that others made -> the store: telemetry, events, work orders and vehicles by a mapping.

What belongs here: reading such files within bounds, what a mapping says, and the one door for rows
(`rows.import_decoded`).
"""
