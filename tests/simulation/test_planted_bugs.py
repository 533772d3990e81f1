"""Take a rule out of the shipped code, and the simulator must notice within 200 runs."""

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, bindparam

from orderflow.contexts.fulfillment import replies as fulfillment_replies
from orderflow.contexts.fulfillment.state import Shipment
from orderflow.contexts.inventory import replies as inventory_replies
from orderflow.contexts.inventory import stock
from orderflow.contexts.payment import replies as payment_replies
from orderflow.contracts.decision import Call, Decision
from orderflow.contracts.identity import derive
from orderflow.gateway import idempotency
from orderflow.providers.protocol import ProviderAnswer, ProviderRequest, Unavailable
from orderflow.runtime import inbox, ledger, outbox, task_rows
from orderflow.runtime.aggregates import Aggregates, from_cache
from orderflow.runtime.broker import OutboxRow, PublishFailed
from orderflow.runtime.outgoing import Outgoing
from orderflow.runtime.positions import Place, Position
from orderflow.runtime.relay import Relay
from orderflow.runtime.rows import Rows, Versioned
from orderflow.runtime.schema import consumed_offsets, processed_events
from orderflow.runtime.statements import Statement
from orderflow.runtime.task_rows import Task
from orderflow.runtime.tasks import TaskRunner
from orderflow.saga import moves, table
from orderflow.saga.state import Progress
from orderflow.saga.table import Action, Status
from orderflow.simulation import world
from orderflow.simulation.contexts import contexts_of
from orderflow.simulation.playing import Player

WITHIN = 200

# Beside each module its context has a function of the same name.
fulfillment, inventory, payment = (
    importlib.import_module(f"orderflow.contexts.{name}.decide") for name in ("fulfillment", "inventory", "payment")
)

Plant = Callable[[pytest.MonkeyPatch], None]
PLANTS: dict[str, Plant] = {}


def plant(function: Plant) -> Plant:
    PLANTS[function.__name__.replace("_", " ").strip()] = function
    return function


# The record of what was read


@plant
def no_inbox(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(inbox, "known", lambda *_: {})
    patch.setattr(inbox, "_INSERT", Statement(processed_events.insert().prefix_with("OR IGNORE")))


@plant
def no_compare_and_set_in_the_ledger(patch: pytest.MonkeyPatch) -> None:
    advance = consumed_offsets.update().where(*ledger._PARTITION)
    to = advance.values(
        offset=bindparam("to_offset"), last_event_id=bindparam("to_event_id"), updated_at=bindparam("now")
    )
    patch.setattr(ledger, "_ADVANCE", Always(to))


class Always(Statement):
    """Says that it has touched one row, whatever it has touched."""

    def run(self, connection: Connection, values: Mapping[str, Any]) -> int:
        super().run(
            connection, {name: value for name, value in values.items() if name not in {"at_offset", "at_owner"}}
        )
        return 1


@plant
def a_jump_ahead_is_taken_for_nothing(patch: pytest.MonkeyPatch) -> None:
    place = Position.place

    def trusting(self: Position, offset: int, after: int | None = None) -> Place:
        found = place(self, offset, after)
        return Place.NEXT if found is Place.AHEAD else found

    patch.setattr(Position, "place", trusting)


# States and their versions


@plant
def the_cache_is_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Aggregates, "read", _believing_read)


def _believing_read(self: Any, connection: Connection, keys: Any) -> None:
    wanted = {key for key in keys if key not in self._read}
    for key in wanted & self._cached.keys():
        version, data = from_cache(self._cached[key])
        self._take(key, Versioned(version, self._rows.decode(data)))
    for key, row in self._rows.load(connection, wanted - self._cached.keys(), lock=True).items():
        self._take(key, row)
    for key in wanted:
        self._read.setdefault(key, 0)


@plant
def neither_versions_nor_the_cache_are_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Aggregates, "read", _believing_read)
    patch.setattr(Rows, "update", _forceful_update)


def _forceful_update(self: Rows[Any], connection: Connection, states: Any) -> None:
    for key, row in states.items():
        connection.execute(self.table.update().where(self.table.c[self.key] == key).values(**self._values(key, row)))


# Calls


@plant
def an_unclear_call_is_repeated_without_asking(patch: pytest.MonkeyPatch) -> None:
    async def ask(self: TaskRunner, task: Task, body: Call) -> ProviderAnswer:
        request = ProviderRequest(operation=body.operation, key=body.key, arguments=body.arguments)
        return await self._providers[body.provider].call(request)

    patch.setattr(TaskRunner, "_ask", ask)


@plant
def an_unclear_answer_counts_as_none(patch: pytest.MonkeyPatch) -> None:
    failed = TaskRunner._failed

    def certain(self: TaskRunner, task: Task, error: Exception) -> None:
        failed(self, msgspec.structs.replace(task, unclear=False), Unavailable(str(error)))

    patch.setattr(TaskRunner, "_failed", certain)


@plant
def a_tasks_end_is_not_compared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(task_rows, "finish", lambda *_: True)


# Timers


@plant
def a_deadline_fires_in_spite_of_a_backlog(patch: pytest.MonkeyPatch) -> None:
    def may_fire(self: TaskRunner, connection: Connection, task: Task, entries: Any) -> bool:
        return not (task.body.request and outbox.is_unpublished(connection, task.body.request))  # type: ignore[union-attr]

    patch.setattr(TaskRunner, "_may_fire", may_fire)


@plant
def a_deadline_fires_before_its_request_is_published(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(outbox, "is_unpublished", lambda *_: False)


# Out


@plant
def the_relay_goes_on_after_a_failure(patch: pytest.MonkeyPatch) -> None:
    async def lane(self: Relay, rows: list[OutboxRow], gate: Any, acknowledged: list[str], _stopped: Any) -> None:
        for row in rows:
            try:
                await self._broker.publish([row])
            except PublishFailed:
                continue
            acknowledged.append(row.event_id)

    patch.setattr(Relay, "_publish_lane", lane)


@plant
def the_fast_path_waits_for_nobody(patch: pytest.MonkeyPatch) -> None:
    hand_over = Outgoing.hand_over
    patch.setattr(Outgoing, "hand_over", lambda self, rows, _blocked=None: hand_over(self, rows, {}))


@plant
def a_message_counts_as_published_before_it_is(patch: pytest.MonkeyPatch) -> None:
    publish = Outgoing._publish

    async def hopeful(self: Outgoing, rows: list[OutboxRow]) -> None:
        self._acknowledged.update(row.event_id for row in rows)
        self._marks.set()
        await publish(self, rows)

    patch.setattr(Outgoing, "_publish", hopeful)


@plant
def no_relay(patch: pytest.MonkeyPatch) -> None:
    async def nothing(_self: Relay) -> int:
        return 0

    patch.setattr(Relay, "publish_once", nothing)


@plant
def removed_revisions_go_on(patch: pytest.MonkeyPatch) -> None:
    for name in ("unit_of_work", "tasks", "direct"):
        patch.setattr(f"orderflow.runtime.{name}.assert_allowed", lambda *_: None)


# The saga


@plant
def steps_of_unknown_outcome_are_not_undone(patch: pytest.MonkeyPatch) -> None:
    def needs_undoing(self: Progress) -> bool:
        return self.status is Status.DONE or (self.status is not Status.UNDOING and bool(self.left))

    patch.setattr(Progress, "needs_undoing", property(needs_undoing))


@plant
def every_ask_has_the_same_event_id(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(moves.Ask, "event_id", property(lambda self: derive(self.request_id, "the only")))


@plant
def compensations_park(patch: pytest.MonkeyPatch) -> None:
    made = contexts_of

    def parking(seconds: float) -> dict[str, Any]:
        return {name: dataclasses.replace(each, compensations=frozenset()) for name, each in made(seconds).items()}

    patch.setattr(world, "contexts_of", parking)


# Participants


@plant
def no_tombstone_for_a_shipment(patch: pytest.MonkeyPatch) -> None:
    def bury(message: Any) -> Decision[Any]:
        shipment = Shipment(order_id=message.order_id, status="cancelled", settled_at=message.occurred_at)
        answer = fulfillment_replies.cancelled(shipment, message, message.request_id)
        return Decision(state=None, outcome="applied", messages=(answer,))

    patch.setattr(fulfillment, "_bury", bury)


@plant
def a_refund_does_not_wait_for_its_charge(patch: pytest.MonkeyPatch) -> None:
    def at_once(state: Any, message: Any) -> Decision[Any]:
        after = msgspec.structs.replace(state, status="failed", failure_reason="refunded")
        answer = payment_replies.nothing_refunded(message, request_id=message.request_id)
        return Decision(state=after, outcome="applied", messages=(answer,))

    patch.setattr(payment, "_refund_later", at_once)


@plant
def inventory_releases_by_the_clock(patch: pytest.MonkeyPatch) -> None:
    needs = inventory.needs

    def needed(state: Any, message: Any) -> tuple[str, ...]:
        if isinstance(message, inventory.ReservationDue) and state is not None and state.status == "reserved":
            return tuple(sorted(item.product_id for item in state.items))
        found: tuple[str, ...] = needs(state, message)
        return found

    made = contexts_of

    def impatient(seconds: float) -> dict[str, Any]:
        contexts = made(seconds)
        kept = contexts["inventory"]
        assert kept.shared is not None
        shared = dataclasses.replace(kept.shared, needs=needed)

        def decide(state: Any, levels: Any, message: Any) -> Decision[Any]:
            if isinstance(message, inventory.ReservationDue) and state is not None and state.status == "reserved":
                after = msgspec.structs.replace(state, status="released", released_at=message.occurred_at)
                back = stock.changed(levels, state.items, stock.given_back, message.occurred_at)
                return Decision(state=after, outcome="applied", shared=back)
            return kept.decide(state, levels, message)

        return contexts | {"inventory": dataclasses.replace(kept, shared=shared, decide=decide)}

    patch.setattr(world, "contexts_of", impatient)


@plant
def no_tombstone_for_a_payment(patch: pytest.MonkeyPatch) -> None:
    _without_tombstone_for_a_payment(patch)


@plant
def neither_a_tombstone_for_a_payment_nor_a_late_one_refunded(patch: pytest.MonkeyPatch) -> None:
    _without_tombstone_for_a_payment(patch)
    _without_undoing_late_successes(patch)


def _without_tombstone_for_a_payment(patch: pytest.MonkeyPatch) -> None:
    def tombstone(message: Any) -> Decision[Any]:
        answer = payment_replies.nothing_refunded(message, request_id=message.request_id)
        return Decision(state=None, outcome="applied", messages=(answer,))

    patch.setattr(payment, "_tombstone", tombstone)


@plant
def neither_a_tombstone_for_a_reservation_nor_a_late_one_released(patch: pytest.MonkeyPatch) -> None:
    release = inventory._release

    def forgetful(state: Any, shared: Any, message: Any) -> Decision[Any]:
        if state is None:
            return Decision(state=None, outcome="applied", messages=(inventory_replies.nothing_released(message),))
        decision: Decision[Any] = release(state, shared, message)
        return decision

    patch.setattr(inventory, "_release", forgetful)
    _without_undoing_late_successes(patch)


def _without_undoing_late_successes(patch: pytest.MonkeyPatch) -> None:
    unwanted = {Action.UNDO_LATE, Action.OWE}
    kept = {cell: Action.LATE if action in unwanted else action for cell, action in table.TABLE.items()}
    patch.setattr("orderflow.saga.orchestration.TABLE", kept)


# The order API


@plant
def idempotency_keys_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(idempotency, "claim", lambda *_: None)
    patch.setattr(idempotency, "remember", lambda *_: None)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rule", PLANTS)
def test_a_planted_bug_is_found(rule: str, in_memory: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTS[rule](monkeypatch)
    assert any(not in_memory.seed(seed).ok for seed in range(WITHIN)), f"{WITHIN} runs have not noticed it"
