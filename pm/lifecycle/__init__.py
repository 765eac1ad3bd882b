"""Lifecycle: which model serves, on what evidence.

What belongs here: stages, allowed moves, gates. Not here: measuring (`pm.backtest`) and the
record of moves (`pm.store.registry`).
"""
