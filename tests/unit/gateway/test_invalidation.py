from dataclasses import dataclass

from orderflow.gateway.invalidation import order_entries, product_entries, stale_entries


@dataclass
class Record:
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def test_an_event_about_an_order_makes_what_shows_the_order_stale() -> None:
    orders, products = stale_entries([Record(b"o-1", (("ce_type", b"OrderCompleted"),)), Record(b"o-2")])
    assert orders == {*order_entries("o-1"), *order_entries("o-2")}
    assert not products


def test_a_product_event_makes_the_product_and_the_catalogue_stale() -> None:
    orders, products = stale_entries([Record(b"sku-1", (("ce_type", b"ProductChanged"),))])
    assert products == set(product_entries("sku-1")) == {"product:sku-1", "products"}
    assert not orders


def test_a_record_without_a_key_makes_nothing_stale() -> None:
    assert stale_entries([Record(None)]) == (set(), set())
