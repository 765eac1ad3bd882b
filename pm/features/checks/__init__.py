"""What the daily aggregates are assumed to be, one module a kind of check.

What belongs here: pure checks over the last days of every vehicle and signal, as known at an as-of. In
which order they run and what their results become is `pm.features.assumptions`.
"""
