"""From work orders to labels on two clocks.

What belongs here: what a work order line means, when its label is final, and every state in between.
Models and their folds are `pm.models` and `pm.backtest`.
"""
