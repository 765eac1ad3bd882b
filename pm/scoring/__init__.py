"""Scoring: bundles and feature vectors of one as-of in, ranked predictions out.

What belongs here: probability, rank, status, alert, reasons, recommended action. Not here:
training (`pm.models`), which model serves (`pm.lifecycle`), storing (`pm.store`).
"""
