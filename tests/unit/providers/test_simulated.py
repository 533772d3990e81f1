import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from orderflow.providers.faults import CarrierFaults, Faults, Simulation
from orderflow.providers.protocol import Provider, ProviderAnswer, ProviderRequest, Unavailable, Unclear
from orderflow.providers.record import Record, records
from orderflow.providers.settlement import RequestError
from orderflow.providers.simulated import SimulatedProviders, World, simulated_providers, store_urls
from orderflow.runtime.database import open_database

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
WELL = Simulation(carrier=CarrierFaults(error_rate=0, latency_seconds=(0, 0)))
CHARGE = ProviderRequest(
    operation="charge", key="pay-1", arguments={"amount": "12.50", "orderId": "order-1", "customerId": "ada"}
)
BOOK = ProviderRequest(operation="book", key="ship-1", arguments={"orderId": "order-1", "customerId": "ada"})


def refund(key: str, amount: str) -> ProviderRequest:
    return ProviderRequest(operation="refund", key=key, arguments={"amount": amount, "paymentId": "pay-1"})


def cancel(shipment: str) -> ProviderRequest:
    return ProviderRequest(operation="cancel", key=shipment, arguments={"shipmentId": shipment})


async def no_time(_seconds: float) -> None:
    await asyncio.sleep(0)


def opened(simulation: Simulation, url: str) -> SimulatedProviders:
    return simulated_providers(simulation, url, World(random=Random(7), sleep=no_time, now=lambda: NOON))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/provider.db"


@pytest.fixture
async def providers(url: str) -> AsyncIterator[SimulatedProviders]:
    with closing(opened(WELL, url)) as providers:
        yield providers


def everything(urls: Iterable[str]) -> list[Record]:
    found: list[Record] = []
    for url in urls:
        engine = open_database(url)
        found += records(engine)
        engine.dispose()
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_there_is_a_card_a_carrier_and_three_channels(providers: SimulatedProviders) -> None:
    assert {name: provider.name for name, provider in providers.items()} == {
        name: name for name in ("card", "carrier", "email", "sms", "push")
    }


async def test_a_call_is_recorded_with_its_order_and_time(providers: SimulatedProviders, url: str) -> None:
    answer = await providers["card"].call(CHARGE)
    (record,) = everything([url])
    assert record.answer == answer
    assert (record.provider, record.operation, record.key) == ("card", "charge", "pay-1")
    assert (record.order_id, record.at, str(record.amount)) == ("order-1", NOON, "12.50")


async def test_one_key_called_many_times_at_once_from_two_processes_has_one_effect(url: str) -> None:
    with closing(opened(WELL, url)) as one, closing(opened(WELL, url)) as other:
        calls = [providers["card"].call(CHARGE) for providers in (one, other) for _ in range(20)]
        answers = await asyncio.gather(*calls)
    assert all(answer == answers[0] for answer in answers)
    assert len(everything([url])) == 1


async def test_an_answer_is_the_same_for_ever(url: str) -> None:
    with closing(opened(Simulation(card=Faults(decline_rate=1)), url)) as before:
        declined = await before["card"].call(CHARGE)
    assert declined.status == "declined"
    with closing(opened(WELL, url)) as after:
        assert await after["card"].call(CHARGE) == declined
        assert await after["card"].query(CHARGE) == declined


async def test_a_question_about_a_key_that_never_came_finds_nothing(providers: SimulatedProviders) -> None:
    assert await providers["card"].query(CHARGE) is None


async def test_after_a_lost_answer_the_question_finds_it(url: str) -> None:
    with closing(opened(Simulation(card=Faults(timeout_after_success_rate=1)), url)) as providers:
        with pytest.raises(Unclear):
            await providers["card"].call(CHARGE)
        found = await providers["card"].query(CHARGE)
    assert found is not None
    assert found.status == "succeeded"
    assert len(everything([url])) == 1


async def test_after_a_lost_request_the_question_finds_nothing(url: str) -> None:
    with closing(opened(Simulation(card=Faults(timeout_before_rate=1)), url)) as providers:
        with pytest.raises(Unclear):
            await providers["card"].call(CHARGE)
        assert await providers["card"].query(CHARGE) is None


async def test_an_unavailable_provider_does_nothing_and_cannot_tell(url: str) -> None:
    with closing(opened(Simulation(card=Faults(error_rate=1)), url)) as providers:
        with pytest.raises(Unavailable):
            await providers["card"].call(CHARGE)
        with pytest.raises(Unavailable):
            await providers["card"].query(CHARGE)
    with closing(opened(WELL, url)) as providers:
        assert await providers["card"].query(CHARGE) is None


async def test_a_call_takes_its_time_and_a_question_none(url: str) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    world = World(random=Random(7), sleep=sleep)
    slow = Simulation(carrier=CarrierFaults(error_rate=0))
    with closing(simulated_providers(slow, url, world)) as providers:
        for number in range(20):
            await providers["carrier"].call(ProviderRequest(operation="book", key=str(number), arguments={}))
        await providers["carrier"].query(BOOK)
        await providers["card"].call(CHARGE)
    assert len(slept) == 20
    assert all(1 <= seconds <= 5 for seconds in slept)


async def test_the_carrier_fails_about_as_often_as_it_should_and_each_booking_succeeds_in_the_end(url: str) -> None:
    failures = 0
    with closing(opened(Simulation(), url)) as providers:
        for number in range(200):
            request = ProviderRequest(operation="book", key=str(number), arguments={})
            while (answer := await _tried(providers["carrier"], request)) is None:
                failures += 1
            assert answer.status == "shipped"
    assert 15 <= failures <= 60  # 200 * 0.15 / 0.85 = 35


async def _tried(provider: Provider, request: ProviderRequest) -> ProviderAnswer | None:
    try:
        return await provider.call(request)
    except Unavailable:
        return None


async def test_a_refund_is_made_once_per_key(providers: SimulatedProviders, url: str) -> None:
    card = providers["card"]
    await card.call(CHARGE)
    answers = await asyncio.gather(*(card.call(refund("re-1", "12.50")) for _ in range(10)))
    assert {answer.status for answer in answers} == {"succeeded"}
    assert [record.operation for record in everything([url])] == ["charge", "refund"]


async def test_refunds_at_once_never_give_back_more_than_was_charged(url: str) -> None:
    with closing(opened(WELL, url)) as one, closing(opened(WELL, url)) as other:
        await one["card"].call(CHARGE)
        calls = [(one, other)[number % 2]["card"].call(refund(f"re-{number}", "5.00")) for number in range(10)]
        answers = await asyncio.gather(*calls)
    assert sorted(answer.status for answer in answers) == ["declined"] * 8 + ["succeeded"] * 2


async def test_booking_and_cancelling_at_once_settle_one_way(url: str) -> None:
    with ExitStack() as stack:
        one, other = (stack.enter_context(closing(opened(WELL, url))) for _ in range(2))
        shipments = [ProviderRequest(operation="book", key=str(number), arguments={}) for number in range(40)]
        calls = []
        for number, booking in enumerate(shipments):
            pair = [one["carrier"].call(booking), other["carrier"].call(cancel(booking.key))]
            calls.append(asyncio.gather(*pair) if number % 2 else asyncio.gather(*reversed(pair)))
        outcomes = await asyncio.gather(*calls)
    settled = {tuple(sorted(answer.status for answer in answers)) for answers in outcomes}
    assert settled <= {("shipped", "shipped"), ("cancelled", "rejected")}


async def test_a_cancelled_booking_stays_cancelled_after_a_restart(url: str) -> None:
    with closing(opened(WELL, url)) as before:
        assert (await before["carrier"].call(cancel("ship-1"))).status == "cancelled"
    with closing(opened(WELL, url)) as after:
        assert (await after["carrier"].call(BOOK)).status == "rejected"
        assert (await after["carrier"].call(cancel("ship-1"))).status == "cancelled"


async def test_one_key_is_another_under_another_provider(providers: SimulatedProviders) -> None:
    request = ProviderRequest(operation="deliver", key="n-1", arguments={"address": "ada@example.org"})
    await providers["email"].call(request)
    assert await providers["sms"].query(request) is None


async def test_no_address_is_kept_in_clear(providers: SimulatedProviders, tmp_path: Path) -> None:
    request = ProviderRequest(operation="deliver", key="n-1", arguments={"address": "ada@example.org"})
    assert (await providers["email"].call(request)).status == "delivered"
    written = b"".join(files(tmp_path).values())
    assert b"n-1" in written
    assert b"ada@example.org" not in written


@pytest.mark.parametrize(
    ("provider", "request_"),
    [
        ("card", ProviderRequest(operation="book", key="k", arguments={})),
        ("card", ProviderRequest(operation="charge", key="k", arguments={})),
        ("card", ProviderRequest(operation="refund", key="k", arguments={"amount": "1.00"})),
        ("carrier", ProviderRequest(operation="cancel", key="k", arguments={})),
    ],
)
async def test_what_cannot_be_understood_is_no_answer_and_leaves_no_trace(
    providers: SimulatedProviders, url: str, provider: str, request_: ProviderRequest
) -> None:
    await providers["card"].call(CHARGE)
    with pytest.raises(RequestError):
        await providers[provider].call(request_)
    assert len(everything([url])) == 1


async def test_each_provider_can_have_a_store_of_its_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/provider-{{provider}}.db"
    with closing(opened(WELL, url)) as providers:
        await providers["card"].call(CHARGE)
        await providers["carrier"].call(BOOK)
    assert set(files(tmp_path)) == {"provider-card.db", "provider-carrier.db"}
    assert len(store_urls(url)) == 5
    assert store_urls("sqlite:///one.db") == ("sqlite:///one.db",)
    assert {record.provider for record in everything(store_urls(url)[:2])} == {"card", "carrier"}
