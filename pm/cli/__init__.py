"""The command line: parse, call a pipeline, print.

What belongs here: options, tables, progress bars and exit codes. What does not: anything a program
would want to call; that is a pipeline. Commands are imported when they are used, so that `pm
--help` does not load a gradient booster.
"""

from pm.cli.app import main

__all__ = ["main"]
