"""Dagster says when, `pm` says what: an asset body is one call of a `pm.pipelines` function.

What belongs here: assets, checks, schedules, sensors, and reports turned into metadata. What does
not: any computation. Modules here must not postpone annotations, Dagster reads them.
"""
