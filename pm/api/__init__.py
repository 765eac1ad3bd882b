"""The prediction API and the fleet manager's pages.

What belongs here: HTTP, shapes of answers, HTML. Not here: SQL (`pm.store`), anything that
computes a number.
"""
