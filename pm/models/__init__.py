"""Classifiers and simple rules, their calibration, and the bundle they are kept in."""
