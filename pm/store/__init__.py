"""The database and the artifact folder. Only this room speaks SQL.

Importable by a bare Python: `scripts/bootstrap.py` uses `debian` before anything is installed.
"""
