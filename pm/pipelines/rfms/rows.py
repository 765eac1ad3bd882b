"""Vehicle statuses as frames for the store.

What belongs here: the shapes that `pm.pipelines.imports.rows` takes. What a status holds is
`pm.pipelines.rfms.statuses`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from pm.canbus.dbc import MessagePlan
from pm.pipelines.imports.rows import DecodedRows
from pm.pipelines.rfms.statuses import Status
from pm.schema import UTC_INSTANT

NO_ADDRESS: Final = -1
_CLOCKS: Final[dict[str, pl.DataType]] = {"vehicle_id": pl.Int32(), "time": UTC_INSTANT, "known_at": UTC_INSTANT}


def decoded_rows(
    rows: Sequence[Status], plans: Mapping[str, MessagePlan], ids: Mapping[str, int], channel: str
) -> DecodedRows:
    """Statuses of known vehicles (`ids` by VIN) as rows of messages and events, in their order."""
    messages = []
    for name, plan in plans.items():
        there = {signal for row in rows for signal in row.messages.get(name, ())}
        used = replace(plan, signals=tuple(signal for signal in plan.signals if signal.name in there))
        if used.signals:
            messages.append((used, _message_frame(rows, name, used, ids, channel)))
    return DecodedRows(tuple(messages), _event_frame(rows, ids))


def _message_frame(
    rows: Sequence[Status], name: str, plan: MessagePlan, ids: Mapping[str, int], channel: str
) -> pl.DataFrame:
    having = [row for row in rows if row.messages.get(name)]
    columns: dict[str, list[object]] = {
        signal.column: [row.messages[name].get(signal.name) for row in having] for signal in plan.signals
    }
    schema = {signal.column: pl.String() if signal.is_text else pl.Float64() for signal in plan.signals}
    return pl.DataFrame({**_clocks(having, ids), **columns}, schema={**_CLOCKS, **schema}).with_columns(
        channel=pl.lit(channel),
        source_address=pl.lit(NO_ADDRESS, pl.Int16()),
        destination_address=pl.lit(NO_ADDRESS, pl.Int16()),
    )


def _event_frame(rows: Sequence[Status], ids: Mapping[str, int]) -> pl.DataFrame:
    each = [(row, event) for row in rows for event in row.events]
    content = {
        **_clocks([row for row, _ in each], ids),
        "kind": [event.kind for _, event in each],
        "code": [event.code for _, event in each],
        "severity": [event.severity for _, event in each],
    }
    schema = {**_CLOCKS, "kind": pl.String(), "code": pl.String(), "severity": pl.String()}
    return pl.DataFrame(content, schema=schema).with_columns(value=pl.lit(None, pl.Float64()))


def _clocks(rows: Sequence[Status], ids: Mapping[str, int]) -> dict[str, list[object]]:
    return {
        "vehicle_id": [ids[row.vin] for row in rows],
        "time": [row.created_at for row in rows],
        "known_at": [row.known_at for row in rows],
    }
