"""The simulated outside: a card provider, a carrier, and the channels email, SMS and push.

Each keeps its promises as a real one would: one request per operation and key, the same answer for ever, also after a
restart and from several processes at once. Fault switches decide what reaches the caller of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import ClassVar, Final

from orderflow.providers import settlement
from orderflow.providers.faults import Faults, Simulation, draw
from orderflow.providers.protocol import Provider, ProviderAnswer, ProviderRequest, Unavailable, Unclear
from orderflow.providers.record import Record, Store
from orderflow.providers.settlement import RequestError, Rule


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class World:
    """What a simulated provider takes from outside: a simulator or a test gives its own."""

    random: Random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    now: Callable[[], datetime] = _utc_now


class Operation:
    """One thing a provider does: its rule, and which argument names the subject (without it, the key does)."""

    def __init__(self, rule: Rule, subject: str | None = None) -> None:
        self.rule = rule
        self._subject = subject

    def subject(self, request: ProviderRequest) -> str:
        """Return the name of what the request concerns.

        Raises:
            RequestError: the argument that names it is missing.
        """
        if self._subject is None:
            return request.key
        try:
            return request.arguments[self._subject]
        except KeyError:
            raise RequestError(f"{request.operation} {request.key}: {self._subject}: missing") from None


class SimulatedProvider:
    """What the simulated providers share: calls under keys, settled in a store of record, among faults."""

    operations: ClassVar[Mapping[str, Operation]]

    def __init__(self, name: str, faults: Faults, store: Store, world: World) -> None:
        self.name = name
        self._faults = faults
        self._store = store
        self._world = world

    async def call(self, request: ProviderRequest) -> ProviderAnswer:
        """Carry the request out, once per operation and key.

        Raises:
            Unavailable: nothing happened.
            Unclear: it may have happened.
            RequestError: it cannot be understood.
        """
        operation = self._operation(request)
        weather = draw(self._faults, self._world.random)
        if weather.seconds > 0:
            await self._world.sleep(weather.seconds)
        if weather.failing:
            raise Unavailable(f"{self.name} is unavailable (simulated)")
        if weather.lost_before:
            raise Unclear(f"{self.name} did not answer {request.operation} {request.key} (simulated, nothing happened)")
        answer = await self._settle(operation, request, weather.declined)
        if weather.lost_after:
            raise Unclear(f"{self.name} did not answer {request.operation} {request.key} (simulated, it happened)")
        return answer

    async def query(self, request: ProviderRequest) -> ProviderAnswer | None:
        """Return the answer recorded under the request's operation and key, or ``None`` if it never arrived.

        Raises:
            Unavailable: the provider cannot tell now.
            RequestError: it cannot be understood.
        """
        self._operation(request)
        if draw(self._faults, self._world.random).failing:
            raise Unavailable(f"{self.name} is unavailable (simulated)")
        record = await self._store.find(self.name, request.operation, request.key)
        return None if record is None else record.answer

    async def _settle(self, operation: Operation, request: ProviderRequest, declined: bool) -> ProviderAnswer:
        subject = operation.subject(request)

        def decide(known: Sequence[Record]) -> Record:
            verdict = operation.rule(request, known, declined)
            return Record(
                provider=self.name,
                operation=request.operation,
                key=request.key,
                subject=subject,
                status=verdict.status,
                at=self._world.now(),
                reference=verdict.reference,
                detail=verdict.detail,
                amount=verdict.amount,
                order_id=request.arguments.get("orderId", ""),
            )

        record = await self._store.settle(self.name, request.operation, request.key, subject, decide)
        return record.answer

    def _operation(self, request: ProviderRequest) -> Operation:
        try:
            return self.operations[request.operation]
        except KeyError:
            raise RequestError(
                f"{self.name} knows {', '.join(self.operations)}; it was asked to {request.operation}"
            ) from None


class SimulatedCard(SimulatedProvider):
    """Charges, and refunds of them.

    Arguments of ``charge``: ``amount``, ``customerId``; of ``refund``: ``amount`` and ``paymentId``, the key of the
    charge. ``orderId`` goes into the record.
    """

    operations: ClassVar[Mapping[str, Operation]] = {
        "charge": Operation(settlement.charge),
        "refund": Operation(settlement.refund, subject="paymentId"),
    }


class SimulatedCarrier(SimulatedProvider):
    """Takes bookings, and cancels those that have not left.

    Arguments of ``book``: ``customerId``; of ``cancel``: ``shipmentId``, the key of the booking. ``orderId`` goes
    into the record.
    """

    operations: ClassVar[Mapping[str, Operation]] = {
        "book": Operation(settlement.book),
        "cancel": Operation(settlement.cancel, subject="shipmentId"),
    }


class SimulatedChannel(SimulatedProvider):
    """Brings messages to people. Arguments of ``deliver``: ``address``. ``orderId`` goes into the record."""

    operations: ClassVar[Mapping[str, Operation]] = {"deliver": Operation(settlement.deliver)}


PROVIDERS: Final[Mapping[str, type[SimulatedProvider]]] = {
    "card": SimulatedCard,
    "carrier": SimulatedCarrier,
    "email": SimulatedChannel,
    "sms": SimulatedChannel,
    "push": SimulatedChannel,
}


class SimulatedProviders(Mapping[str, Provider]):
    """The simulated providers by name."""

    def __init__(self, providers: Mapping[str, Provider], stores: Collection[Store]) -> None:
        self._providers = providers
        self._stores = stores

    def __getitem__(self, name: str) -> Provider:
        return self._providers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._providers)

    def __len__(self) -> int:
        return len(self._providers)

    def close(self) -> None:
        """Finish what is being settled and let go of the stores."""
        for store in self._stores:
            store.close()


def simulated_providers(simulation: Simulation, url: str, world: World | None = None) -> SimulatedProviders:
    """Return ``card``, ``carrier``, ``email``, ``sms`` and ``push``, keeping their records at ``url``.

    ``{provider}`` in ``url`` stands for the provider's name and gives each a store of its own; without it they share
    one (see :func:`store_urls`). Several processes may open the same stores. Nothing is opened before the first call.
    Without a ``world``, it is this machine's clock and random numbers.
    """
    around = world or World(random=Random())
    stores = {each: Store(each) for each in store_urls(url)}
    providers: dict[str, Provider] = {}
    for name, make in PROVIDERS.items():
        faults: Faults = getattr(simulation, name)
        providers[name] = make(name, faults, stores[_store_url(url, name)], around)
    return SimulatedProviders(providers, stores.values())


def store_urls(url: str) -> tuple[str, ...]:
    """Return the URL of every store that the providers keep for ``url``, each once."""
    return tuple(dict.fromkeys(_store_url(url, name) for name in PROVIDERS))


def _store_url(url: str, name: str) -> str:
    return url.replace("{provider}", name)
