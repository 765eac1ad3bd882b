"""Whether a leak audit allows models to be registered.

What belongs here: deciding on an audit's row. How an audit is made is `pm.backtest.audit`; who asks is
`pm.pipelines.train`.
"""

import json
from collections.abc import Mapping
from typing import Any

from pm.errors import LifecycleError
from pm.policy import Policy


def require_audited(audit: Mapping[str, Any] | None, backtest_id: str, policy: Policy) -> None:
    """Return quietly where a model of this backtest may be registered.

    Args:
        audit: the newest row of AUDIT about the backtest; None: there is none.

    Raises:
        LifecycleError: the policy requires an audit, and there is none, or it failed; the message holds
            what it found.
    """
    if not policy.audit.required:
        return
    if audit is None:
        raise LifecycleError(
            f"backtest {backtest_id}: expected a leak audit before a model is registered, but got none: run "
            "`pm audit` (policy [audit] required)"
        )
    if audit["status"] == "fail":
        content = json.loads(audit["audit_json"])
        found = [check["sentence"] for check in content["checks"] if check["status"] == "fail"]
        raise LifecycleError(
            f"backtest {backtest_id}: expected a leak audit that did not fail, but got audit {audit['audit_id']}: "
            f"{' '.join(found)}"
        )


def not_audited(audit: Mapping[str, Any] | None, component: str, policy: Policy) -> str | None:
    """Why only the simple rule may be registered for a component; None: a model may.

    An audit that was not possible for it (too few failures) says nothing for the model.
    """
    if not policy.audit.required or audit is None:
        return None
    content = json.loads(audit["audit_json"])
    if content["status_of"].get(component, "not_possible") != "not_possible":
        return None
    reasons = [
        check["sentence"]
        for check in content["checks"]
        if check["status"] == "not_possible" and check["component"] == component
    ]
    return f"not audited for leaks: {' '.join(reasons) or 'the audit did not cover it'}"
