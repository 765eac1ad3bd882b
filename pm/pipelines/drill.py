"""`pm db drill`: does a dump of this database come back?"""

import secrets
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pm.pipelines.dump import DumpReport, dump_database
from pm.pipelines.restore import RestoreReport, restore_database
from pm.policy import Policy
from pm.progress import Track, silent
from pm.settings import Settings
from pm.store.connection import connect


@dataclass(frozen=True)
class DrillReport:
    """Both ways, compared; nothing of them is left."""

    dump: DumpReport
    restore: RestoreReport


def drill_backup(settings: Settings, url: str, *, at: datetime, policy: Policy, track: Track = silent) -> DrillReport:
    """Dump the database at `url`, restore it into a scratch database beside it, compare, and drop both.

    Raises:
        DataError: a table did not come back the same.
        StoreError: the server could not do it, for instance because this login may make no database.
    """
    with tempfile.TemporaryDirectory(prefix="pm-drill-") as folder:
        path = Path(folder) / "drill.pmdump"
        with connect(url) as conn:
            dumped = dump_database(conn, path, created_at=at, policy=policy, track=track)
        name = f"pm_drill_{secrets.token_hex(6)}"
        restored = restore_database(settings, url, path, into=name, keep=False, track=track)
    return DrillReport(dumped, restored)
