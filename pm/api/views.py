"""From stored rows to what is answered: pure functions over frames.

What belongs here: shaping and choosing rows. No reading, no HTML, no clock.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from pm.api.responses import ActionOut, PredictionOut, ReasonOut, SignalOut, VehicleOut, WorkOrderOut
from pm.scoring.actions import ActionTable
from pm.store.dictionary import DICTIONARY
from pm.tables import PREDICTION, WORK_ORDER

_ORDER_LINE = ["source_system", "work_order_id", "line_no"]


def prediction_out(row: Mapping[str, Any], vehicle_ref: str, actions: ActionTable) -> PredictionOut:
    """One answered prediction from a PREDICTION row."""
    action = actions.of(row["component"])
    fields = {name: row[name] for name in PredictionOut.model_fields if name in row}
    return PredictionOut(
        **fields,
        vehicle_ref=vehicle_ref,
        reasons=[ReasonOut(**reason) for reason in json.loads(row["reasons_json"])],
        recommended_action=ActionOut(component=action.title, action=action.action),
    )


def prediction_list(predictions: pl.DataFrame, refs: Mapping[int, str], actions: ActionTable) -> list[PredictionOut]:
    """Answered predictions in the frame's order; a vehicle without a row keeps its number as name."""
    return [
        prediction_out(row, refs.get(row["vehicle_id"], str(row["vehicle_id"])), actions)
        for row in PREDICTION.check(predictions).iter_rows(named=True)
    ]


def known_orders(work_orders: pl.DataFrame, limit: int) -> list[WorkOrderOut]:
    """The newest version of each order line, newest order first; lines taken back are left out."""
    newest = WORK_ORDER.check(work_orders).sort("known_at").unique(_ORDER_LINE, keep="last")
    shown = newest.filter(~pl.col("withdrawn")).sort("opened_at", *_ORDER_LINE, descending=[True, False, False, False])
    names = list(WorkOrderOut.model_fields)
    return [WorkOrderOut(**row) for row in shown.select(names).head(limit).iter_rows(named=True)]


def vehicle_out(vehicle: Mapping[str, Any], predictions: list[PredictionOut], orders: list[WorkOrderOut]) -> VehicleOut:
    """A vehicle with its latest predictions and its work orders."""
    facts = {name: vehicle[name] for name in VehicleOut.model_fields if name in vehicle}
    first = predictions[0] if predictions else None
    return VehicleOut(
        **facts,
        as_of=first.as_of if first else None,
        data_until=first.data_until if first else None,
        predictions=predictions,
        work_orders=orders,
    )


def signal_list(dictionary: pl.DataFrame) -> list[SignalOut]:
    """Signals of the dictionary (DICTIONARY) in the frame's order."""
    names = list(SignalOut.model_fields)
    return [SignalOut(**row) for row in DICTIONARY.check(dictionary).select(names).iter_rows(named=True)]


def component_titles(components: Iterable[str], actions: ActionTable) -> dict[str, str]:
    """Component classes with the user's words for them."""
    return {component: actions.of(component).title for component in sorted(set(components))}
