"""rFMS vehicle statuses into rows of messages and events, without any database.

What belongs here: judging each record, and what its fields become by the mapping. The times a record has
are kept beside it: createdDateTime (when it happened) and receivedDateTime (when the manufacturer's server
knew it). A record has no id: vehicle, createdDateTime and trigger together are its key.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from pm.canbus.dbc import MessagePlan, SignalPlan
from pm.pipelines.imports.times import TimeLimits
from pm.pipelines.rfms.classes import read_classes
from pm.pipelines.rfms.mapping import DRIVER, POSITION, Listed, Number, RfmsMapping, own_signal
from pm.pipelines.rfms.response import read_instant, read_number, read_text, read_vin
from pm.store.imports import RejectedRow

TRIGGER: Final = "trigger"
TELL_TALE: Final = "tell_tale"
OEM_TELL_TALE: Final = "OEM_SPECIFIC_TELL_TALE"
Values = dict[str, float | str | None]


@dataclass(frozen=True)
class Rules:
    """What of a status may be stored."""

    limits: TimeLimits
    """`imported_at` is when the response was in hand."""
    positions: bool = False
    driver_name: Callable[[str], str] | None = None
    """The name a driver id is stored under; None: it is dropped."""


@dataclass(frozen=True)
class Event:
    """A trigger or a tell-tale of a record."""

    kind: str
    code: str
    severity: str | None


@dataclass(frozen=True)
class Status:
    """One record that may be stored."""

    row_no: int
    vin: str
    created_at: datetime
    known_at: datetime
    """receivedDateTime; where the server's clock is ahead of ours, when the response was in hand."""
    trigger: str
    """`context/triggerType`, the last part of the record's key."""
    messages: Mapping[str, Values]
    """Signals by message; a message without any value is left out."""
    counters: Mapping[str, float]
    """Numbers that should only rise, by `message.signal`."""
    events: tuple[Event, ...]
    """The trigger first."""
    left_out: Mapping[str, int]
    """Values and tell-tales not taken, by reason."""


@dataclass
class Statuses:
    """The statuses of one response, in the order of `order`, and what was not taken."""

    rows: list[Status] = field(default_factory=list)
    plans: dict[str, MessagePlan] = field(default_factory=dict)
    """Every message with exactly the signals that some row has."""
    rejected: list[RejectedRow] = field(default_factory=list)
    """Records refused, without any VIN in the reason."""

    @property
    def left_out(self) -> Counter[str]:
        """Values and tell-tales of all rows that were not taken, by reason."""
        return count_left_out(self.rows)


def read_statuses(
    records: Sequence[Any], mapping: RfmsMapping, rules: Rules, class_columns: frozenset[str] = frozenset()
) -> Statuses:
    """Judge and convert the records of one response.

    Args:
        class_columns: `message.signal` of the histogram columns there are already; new ones are taken up
            to the mapping's number.

    Rows come sorted by vehicle, time, knowledge time and trigger, so that the order and the paging of the
    server decide nothing.
    """
    found = Statuses()
    reader = _Reader(mapping, rules, dict.fromkeys(class_columns))
    for row_no, record in enumerate(records, 1):
        status = reader.read(row_no, record)
        if isinstance(status, str):
            found.rejected.append(RejectedRow(row_no, status))
        else:
            found.rows.append(status)
    found.rows.sort(key=lambda row: (row.vin, row.created_at, row.known_at, row.trigger))
    found.plans = reader.plans()
    return found


def count_left_out(rows: Iterable[Status]) -> Counter[str]:
    """Values and tell-tales of `rows` that were not taken, by reason."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row.left_out)
    return total


def look_up(record: Any, path: str) -> Any:
    """The value at a dotted path of nested objects; None where a part is missing."""
    for name in path.split("."):
        record = record.get(name) if isinstance(record, dict) else None
    return record


@dataclass
class _Reader:
    mapping: RfmsMapping
    rules: Rules
    class_columns: dict[str, SignalPlan | None]
    """Every histogram column that may be used; None: stored earlier and not met yet."""
    used: dict[str, dict[str, SignalPlan]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    """Of the record that is being read."""

    def read(self, row_no: int, record: Any) -> Status | str:
        """The status, or why it is refused."""
        if not isinstance(record, dict):
            return f"expected an object, but got {type(record).__name__}"
        vin = read_vin(record.get("vin"))
        if vin is None:
            return "vin: expected a text of at most 64 characters, but got none"
        created, received = read_instant(record.get("createdDateTime")), read_instant(record.get("receivedDateTime"))
        trigger = _trigger(record.get("triggerType"), vin)
        if created is None or received is None:
            name = "createdDateTime" if created is None else "receivedDateTime"
            return f"{name}: expected an ISO 8601 instant with an offset, but got none"
        if trigger is None:
            return "triggerType.triggerType: expected a text, but got none"
        known = min(received, self.rules.limits.imported_at)
        impossible = self._impossible(created, known)
        if impossible:
            return impossible
        self.left_out = Counter()
        messages, counters = self._values(record, vin)
        events = (Event(TRIGGER, trigger, None), *self._tell_tales(record, vin))
        return Status(row_no, vin, created, known, trigger, messages, counters, events, self.left_out)

    def plans(self) -> dict[str, MessagePlan]:
        return {
            name: replace(self.mapping.messages[name], signals=tuple(signals[key] for key in sorted(signals)))
            for name, signals in sorted(self.used.items())
        }

    def _impossible(self, created: datetime, known: datetime) -> str | None:
        limits = self.rules.limits
        if created < limits.floor:
            return f"createdDateTime: expected {limits.floor.date()} or later, but got an earlier instant"
        if limits.dropped_before is not None and created < limits.dropped_before:
            kept = limits.dropped_before.isoformat()
            return f"createdDateTime: expected {kept} or later: what is older was dropped for its age"
        if created > known + limits.tolerance:
            return "createdDateTime: expected an instant before receivedDateTime and the import, but got a later one"
        return None

    def _values(self, record: dict[str, Any], vin: str) -> tuple[dict[str, Values], dict[str, float]]:
        messages: dict[str, Values] = {}
        counters: dict[str, float] = {}
        for number in self.mapping.numbers:
            if number.to.startswith(f"{POSITION}.") and not self.rules.positions:
                continue
            value = self._number(number, look_up(record, number.field))
            if value is not None:
                self._keep(messages, number.to, self.mapping.signals[number.to], value)
                if number.counter:
                    counters[number.to] = value
        for text in self.mapping.texts:
            words = read_text(look_up(record, text.field), (vin,))
            if words is not None:
                self._keep(messages, text.to, self.mapping.signals[text.to], words)
        for listed in self.mapping.listed:
            self._listed(messages, listed, look_up(record, listed.field), vin)
        for classes in self.mapping.classes:
            for to, plan, count in read_classes(classes, look_up(record, classes.field), self.left_out):
                if self._has_room(to, plan):
                    self._keep(messages, to, plan, count)
        self._driver(messages, record)
        return messages, counters

    def _keep(self, messages: dict[str, Values], to: str, plan: SignalPlan, value: float | str) -> None:
        message, _, signal = to.partition(".")
        if signal not in messages.setdefault(message, {}):
            messages[message][signal] = value
            self.used.setdefault(message, {})[signal] = plan

    def _number(self, number: Number, value: Any) -> float | None:
        if value is None:
            return None
        given = float(value) if number.switch and isinstance(value, bool) else read_number(value)
        if given is None:
            self.left_out[f"{number.field}: no number"] += 1
            return None
        plan, scaled = self.mapping.signals[number.to], given * number.factor
        low, high = plan.minimum, plan.maximum
        if (low is not None and scaled < low) or (high is not None and low != high and scaled > high):
            self.left_out[f"{number.field}: outside the range of {number.to}"] += 1
            return None
        return scaled

    def _listed(self, messages: dict[str, Values], listed: Listed, items: Any, vin: str) -> None:
        # alternatorInfo is one object where there is one alternator.
        for item in items if isinstance(items, list) else [items]:
            index = look_up(item, listed.index)
            if type(index) is not int or not 1 <= index <= listed.maximum_index:
                if item is not None:
                    self.left_out[f"{listed.field}.{listed.index}: not 1 to {listed.maximum_index}"] += 1
                continue
            raw, to = look_up(item, listed.value), listed.to.replace("{}", str(index))
            value = read_text(raw, (vin,)) if listed.text else read_number(raw)
            if value is not None:
                self._keep(messages, to, self.mapping.signals[to], value)

    def _has_room(self, to: str, plan: SignalPlan) -> bool:
        """Whether a histogram column is there or may be made: a server cannot widen the table without end."""
        if to not in self.class_columns and len(self.class_columns) >= self.mapping.maximum_class_columns:
            self.left_out["class of a histogram: no column left"] += 1
            return False
        self.class_columns[to] = plan
        return True

    def _driver(self, messages: dict[str, Values], record: dict[str, Any]) -> None:
        name = self.rules.driver_name
        driver = _driver_id(record.get("driver1Id"))
        if name is not None and driver is not None:
            plan = own_signal("driver_1", "", "driver 1, hashed", is_text=True)
            self._keep(messages, f"{DRIVER}.driver_1", plan, name(driver))

    def _tell_tales(self, record: dict[str, Any], vin: str) -> list[Event]:
        """Tell-tales that triggered the record, then the states of all; the first of a code counts."""
        found: dict[str, Event] = {}
        for path in ("triggerType.tellTaleInfo", "uptimeData.tellTaleInfo"):
            items = look_up(record, path)
            for item in items if isinstance(items, list) else [items]:
                code, state = _tell_tale(item, vin)
                if item is None:
                    continue
                if code is None:
                    self.left_out["tellTaleInfo.tellTale: no text"] += 1
                elif state in self.mapping.left_out_states:
                    self.left_out[f"tell-tale {state}"] += 1
                else:
                    found.setdefault(code, Event(TELL_TALE, code, state))
        return list(found.values())


def _trigger(value: Any, vin: str) -> str | None:
    kind = read_text(look_up(value, "triggerType"), (vin,))
    context = read_text(look_up(value, "context"), (vin,))
    return kind if kind is None or context is None else f"{context}/{kind}"


def _tell_tale(item: Any, vin: str) -> tuple[str | None, str | None]:
    code, state = read_text(look_up(item, "tellTale"), (vin,)), read_text(look_up(item, "state"), (vin,))
    oem = read_text(look_up(item, "oemTellTale"), (vin,))
    if oem is not None and code in (None, OEM_TELL_TALE):
        code = f"{OEM_TELL_TALE}/{oem}"
    return code, state


def _driver_id(value: Any) -> str | None:
    card = look_up(value, "tachoDriverIdentification")
    number, state = look_up(card, "driverIdentification"), look_up(card, "cardIssuingMemberState")
    if number is not None:
        return f"{state}/{number}"
    other = look_up(value, "oemDriverIdentification.oemDriverIdentification")
    return None if other is None else f"oem/{other}"
