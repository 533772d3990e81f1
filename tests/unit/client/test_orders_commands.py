"""`orderflow orders`, as typed, against an order API over HTTP on loopback."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import click
import msgspec
import pytest
from click.testing import Result

from orderflow.client.orders import orders


class Api(Protocol):
    url: str
    orders: dict[str, dict[str, Any]]
    taken: list[tuple[str, dict[str, Any]]]
    timelines: list[list[dict[str, object]]]
    incomplete: list[str]
    answers: list[tuple[int, object]]

    def add(self, order_id: str, body: Mapping[str, Any]) -> dict[str, Any]: ...


class Command(Protocol):
    def __call__(self, command: click.Command, *arguments: str) -> Result: ...


Transition = Callable[..., dict[str, object]]

ONE_ITEM = ("--customer", "c-1", "--item", "sku-1:2")
BODY: Mapping[str, Any] = {"customerId": "c-1", "items": [{"productId": "sku-1", "quantity": 2}]}


@pytest.fixture
def run(command: Command, api: Api) -> Callable[..., Result]:
    return lambda *arguments: command(orders, *arguments, "--url", api.url)


Run = Callable[..., Result]


class TestCreate:
    def test_it_places_the_order_and_prints_its_id(self, run: Run, api: Api) -> None:
        result = run("create", *ONE_ITEM)
        assert result.exit_code == 0
        assert result.stdout.strip() in api.orders
        assert api.taken[0][1] == BODY

    def test_everything_that_is_said_is_in_the_order(self, run: Run, api: Api) -> None:
        items = ("--item", "sku-1:2:4.5", "--item", "sku-2:1")
        run("create", "--customer", "c-1", "--name", "Ada", *items, "--flow", "payment-first", "--tenant", "books")
        assert api.taken[0][1] == {
            "customerId": "c-1",
            "customerName": "Ada",
            "items": [{"productId": "sku-1", "quantity": 2, "price": "4.50"}, {"productId": "sku-2", "quantity": 1}],
            "flow": "payment-first",
            "tenant": "books",
        }

    def test_each_order_has_a_key_of_its_own_unless_one_is_given(self, run: Run, api: Api) -> None:
        for arguments in ((), (), ("--key", "mine")):
            run("create", *ONE_ITEM, *arguments)
        keys = [key for key, _ in api.taken]
        assert keys[2] == "mine"
        assert len(set(keys)) == 3

    def test_as_json_it_prints_what_the_api_has_answered(self, run: Run, api: Api) -> None:
        api.answers = [(201, {"later": 1, **api.add("o-1", BODY)})]
        result = run("create", *ONE_ITEM, "--json")
        assert msgspec.json.decode(result.stdout) == {"later": 1, **api.orders["o-1"]}

    @pytest.mark.parametrize(
        "item", ["sku-1", "sku-1:", "sku-1:two", ":2", "sku-1:2:cheap", "sku-1:2:1.234", "a:b:c:d"]
    )
    def test_an_item_that_is_none_is_refused_before_anybody_is_asked(self, run: Run, api: Api, item: str) -> None:
        result = run("create", "--customer", "c-1", "--item", item)
        assert result.exit_code == 2
        assert f"expected sku:quantity[:price], as in sku-1:2 or sku-1:2:4.50, got {item}" in result.stderr
        assert not api.taken

    def test_a_refusal_is_told_in_the_api_s_words_with_the_field(self, run: Run, api: Api) -> None:
        api.answers = [(422, {"detail": "a quantity is at least 1", "field": "items[0].quantity", "status": 422})]
        result = run("create", "--customer", "c-1", "--item", "sku-1:0")
        assert result.exit_code == 1
        assert result.stderr == "orderflow: items[0].quantity: a quantity is at least 1 (422)\n"

    @pytest.mark.parametrize("status", [409, 500, 503])
    def test_where_it_is_not_known_whether_the_order_was_placed_the_key_is_told(
        self, run: Run, api: Api, status: int
    ) -> None:
        api.answers = [(status, {"detail": "no", "status": status})]
        result = run("create", *ONE_ITEM, "--key", "k-1")
        assert result.stderr == (
            f"orderflow: no ({status}); with --key k-1 the same command places the order once, however often\n"
        )


class TestGet:
    def test_it_shows_the_order(self, run: Run, api: Api) -> None:
        order = api.add("o-1", {**BODY, "customerName": "Ada"})
        order["fulfillment"] = {"carrier": "DHL", "trackingNumber": "T-1", "shippedAt": None, "errorMessage": None}
        assert run("get", "o-1").stdout.splitlines() == [
            "order     o-1",
            "status    Pending",
            "flow      order-to-delivery",
            "customer  c-1 (Ada)",
            "item      2 x sku-1 at 4.50",
            "total     9.00",
            "created   2026-02-14T10:00:00.000Z",
            "updated   2026-02-14T10:00:00.000Z",
            "carrier   DHL",
            "tracking  T-1",
        ]

    def test_an_order_that_there_is_not_is_told(self, run: Run) -> None:
        result = run("get", "o-1")
        assert (result.exit_code, result.stderr) == (1, "orderflow: orderId: there is no such order (404)\n")

    def test_an_id_is_one_part_of_the_path_whatever_is_in_it(self, run: Run, api: Api) -> None:
        api.add("a/b?c", BODY)
        assert run("get", "a/b?c").stdout.startswith("order     a/b?c\n")

    def test_as_json_it_prints_what_the_api_has_answered(self, run: Run, api: Api) -> None:
        api.add("o-1", BODY)
        assert msgspec.json.decode(run("get", "o-1", "--json").stdout) == api.orders["o-1"]


class TestList:
    def test_it_lists_the_newest_first_in_columns(self, run: Run, api: Api) -> None:
        for order_id in ("o-1", "o-22"):
            api.add(order_id, BODY)
        assert run("list").stdout.splitlines() == [
            "ORDER  STATUS     FLOW               CUSTOMER  TOTAL  CREATED",
            "o-22   Completed  order-to-delivery  c-1       9.00   2026-02-14T10:00:00.000Z",
            "o-1    Completed  order-to-delivery  c-1       9.00   2026-02-14T10:00:00.000Z",
        ]

    def test_a_page_says_how_to_go_on(self, run: Run, api: Api) -> None:
        for order_id in ("o-1", "o-2", "o-3"):
            api.add(order_id, BODY)
        first = run("list", "--limit", "2")
        assert first.stderr == "more: --cursor 2\n"
        assert "o-1" in run("list", "--limit", "2", "--cursor", "2").stdout

    def test_as_json_it_prints_the_page_and_nothing_else(self, run: Run, api: Api) -> None:
        api.add("o-1", BODY)
        api.add("o-2", BODY)
        result = run("list", "--json", "--limit", "1")
        assert [order["orderId"] for order in msgspec.json.decode(result.stdout)["orders"]] == ["o-2"]
        assert not result.stderr


class TestTimeline:
    def test_it_shows_every_transition_with_cause_and_attempt(self, run: Run, api: Api, transition: Transition) -> None:
        api.add("o-1", BODY)
        api.timelines = [
            [
                transition("order", "", "PENDING", "CreateOrder"),
                transition("payment", "CHARGING", "CHARGED", "ChargeAnswered", attempt=2),
            ]
        ]
        assert run("timeline", "o-1").stdout.splitlines() == [
            "TIME                      CONTEXT  TRANSITION           CAUSE           ATTEMPT",
            "2026-02-14T10:00:00.123Z  order    PENDING              CreateOrder",
            "2026-02-14T10:00:00.123Z  payment  CHARGING -> CHARGED  ChargeAnswered  2",
        ]

    def test_what_is_missing_is_named(self, run: Run, api: Api, transition: Transition) -> None:
        api.add("o-1", BODY)
        api.timelines, api.incomplete = [[transition("order", "", "PENDING", "CreateOrder")]], ["payment"]
        result = run("timeline", "o-1")
        assert result.exit_code == 0
        assert result.stderr == "without what payment would tell: no answer\n"


class TestWatch:
    @pytest.mark.parametrize(("end", "status"), [("COMPLETED", 0), ("CANCELLED", 1), ("FAILED", 1)])
    def test_its_exit_status_says_how_the_order_has_ended(
        self, run: Run, api: Api, transition: Transition, end: str, status: int
    ) -> None:
        api.add("o-1", BODY)
        pending, ended = transition("order", "", "PENDING", "CreateOrder"), transition("order", "PENDING", end, "X")
        api.timelines = [[pending], [pending, ended]]
        result = run("watch", "o-1")
        assert result.exit_code == status
        assert [line.split()[1:] for line in result.stdout.splitlines()] == [
            ["order", "PENDING", "CreateOrder"],
            ["order", "PENDING", "->", end, "X"],
        ]

    def test_an_order_that_does_not_end_in_time_is_neither(self, run: Run, api: Api, transition: Transition) -> None:
        api.add("o-1", BODY)
        api.timelines = [[transition("order", "", "PENDING", "CreateOrder")]]
        result = run("watch", "o-1", "--timeout", "0")
        assert result.exit_code == 2
        assert result.stderr == "orderflow: the order o-1 has not ended within 0 s\n"

    def test_as_json_each_transition_is_a_line(self, run: Run, api: Api, transition: Transition) -> None:
        api.add("o-1", BODY)
        api.timelines = [
            [transition("order", "", "PENDING", "CreateOrder"), transition("order", "PENDING", "COMPLETED", "X")]
        ]
        lines = [msgspec.json.decode(line) for line in run("watch", "o-1", "--json").stdout.splitlines()]
        assert [(line["from"], line["to"]) for line in lines] == [("", "PENDING"), ("PENDING", "COMPLETED")]

    def test_an_order_that_there_is_not_is_told(self, run: Run) -> None:
        result = run("watch", "o-1")
        assert (result.exit_code, result.stderr) == (1, "orderflow: orderId: there is no such order (404)\n")


class TestWhereNobodyAnswers:
    @pytest.mark.parametrize(
        "arguments", [("create", *ONE_ITEM), ("get", "o"), ("list",), ("timeline", "o"), ("watch", "o")]
    )
    def test_the_sentence_says_so_and_what_to_do(
        self, command: Command, nobody: str, arguments: tuple[str, ...]
    ) -> None:
        result = command(orders, *arguments, "--url", nobody)
        assert result.exit_code == 1
        assert result.stderr == (
            f"orderflow: no order API answers at {nobody}: is the system up? "
            "`orderflow up -f manifests/quickstart.yaml`\n"
        )

    def test_the_address_may_come_from_the_environment(
        self, command: Command, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ORDERFLOW_URL", api.url + "/")
        assert command(orders, "list").exit_code == 0

    @pytest.mark.parametrize("url", ["127.0.0.1:8080", "nonsense", "ftp://127.0.0.1", "http://:x"])
    def test_an_address_that_is_none_is_told(self, command: Command, url: str) -> None:
        result = command(orders, "list", "--url", url)
        assert result.exit_code == 1
        assert result.stderr == f"orderflow: expected the order API's URL, as in http://127.0.0.1:8080, got {url}\n"

    @pytest.mark.parametrize(
        ("status", "body", "sentence"),
        [
            (200, ["something"], "what answers at {url} is no order API of this version"),
            (404, "not found", "what answers 404 at {url} is no order API"),
        ],
    )
    def test_somebody_else_who_answers_is_told(
        self, run: Run, api: Api, status: int, body: object, sentence: str
    ) -> None:
        api.answers = [(status, body)]
        result = run("list")
        assert result.exit_code == 1
        assert result.stderr == f"orderflow: {sentence.format(url=api.url)}\n"
