"""The error tree. What belongs here: exception types with their exit code and HTTP status.

Messages follow one form, `expected X, but got Y` with the file, vehicle or row, and are meant to
be read by the person who gave the input; the entrances (`pm.cli`, `pm.api`) print them bare.
"""

from typing import ClassVar


class PmError(Exception):
    """Anything this product refuses to do, and says why."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False


class ConfigError(PmError):
    """A setting, policy, rule file or DBC that cannot be used (exit 2)."""

    exit_code = 2


class DataError(PmError):
    """Input data that cannot be used: a log, a table, an unknown vehicle (exit 3, HTTP 422)."""

    exit_code = 3
    http_status = 422


class LeakageError(DataError):
    """A row that was not yet known at the decision's `as_of` reached a computation."""


class StoreError(PmError):
    """The database or the artifact folder cannot be reached or refused the work (exit 4, HTTP 503)."""

    exit_code = 4
    http_status = 503
    retryable = True


class ModelError(PmError):
    """A model that cannot be trained, loaded or asked (exit 5, HTTP 409)."""

    exit_code = 5
    http_status = 409


class LifecycleError(PmError):
    """A stage move the evidence or the current state does not allow (exit 6, HTTP 409)."""

    exit_code = 6
    http_status = 409
