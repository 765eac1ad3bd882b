"""Replaying history with only what was known then: folds, measures, comparison, report."""
