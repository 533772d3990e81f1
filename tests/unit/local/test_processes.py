"""Which processes a system has."""

from pathlib import Path

from orderflow.local.broker import EmbeddedBroker
from orderflow.local.java import Java
from orderflow.local.processes import PROGRAM, Process, broker_process, context_processes
from orderflow.local.protocol import Exec, Fork, Preload, decode_command, encode
from orderflow.local.state import Folder
from orderflow.local.title import _fields
from orderflow.spec.deployment import process_names, resolve
from orderflow.spec.reading import parse_resource

FOLDER = Folder(Path("/data"))


def processes(body: str) -> dict[str, Process]:
    head = "apiVersion: orderflow.dev/v1alpha1\nkind: OrderFlow\nmetadata: {name: shop}\nspec:\n"
    resource = parse_resource(head + body, "x.yaml")
    ports = {name: 20_000 + number for number, name in enumerate(process_names(resource))}
    deployment = resolve(resource, data_dir=FOLDER.root, broker="127.0.0.1:9092", ports=ports, revision="r1")
    return {process.name: process for process in context_processes(deployment, FOLDER, PROGRAM)}


def test_each_context_has_its_replicas_and_a_read_api() -> None:
    found = processes("  processors: {payment: {replicas: 2}}\n")
    assert [name for name in found if "payment" in name] == ["payment-0", "payment-1", "payment-api"]
    assert sum(process.kind == "processor" for process in found.values()) == 7
    assert sum(process.kind == "api" for process in found.values()) == 6


def test_a_processor_is_told_which_it_is_and_of_which_system() -> None:
    start = processes("  gateway: {}\n")["payment-0"].start
    assert isinstance(start, Fork)
    assert start.entry == "orderflow.cli:main"
    assert start.arguments == ("run", "payment", "--deployment", "/data/run.json", "--instance", "payment-0")
    assert start.log == "/data/logs/payment-0.log"


def test_the_order_api_is_asked_where_the_resource_has_it_listen() -> None:
    api = processes("  gateway: {host: 10.0.0.7, port: 9000}\n")["order-api"]
    assert (api.host, api.port, api.kind) == ("10.0.0.7", 9000, "api")
    assert processes("  gateway: {host: 0.0.0.0}\n")["order-api"].host == "127.0.0.1"


def test_no_two_processes_have_one_port_or_one_log() -> None:
    found = processes("  processors: {order: {replicas: 4}}\n").values()
    assert len({process.port for process in found}) == len({process.start.log for process in found}) == len(found)


def test_the_embedded_broker_is_a_program_of_its_own() -> None:
    java = Java(Path("/java"), (Path("/kafka.jar"),))
    process = broker_process(EmbeddedBroker(java, FOLDER.kafka, 20_000, 20_001, FOLDER.log("kafka")))
    assert isinstance(process.start, Exec)
    assert process.start.command[0] == "/java"
    assert process.start.command[-2:] == ("kafka.Kafka", "/data/kafka/server.properties")


def test_commands_survive_their_line() -> None:
    for command in (Preload(modules=("a", "b")), Exec(name="x", command=("/a b", "ü"), log="/l")):
        line = encode(command)
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert decode_command(line) == command


def test_a_programs_name_with_blanks_and_brackets_moves_no_field() -> None:
    assert _fields("17 (a (b) c) S 1 2")[2:] == ["S", "1", "2"]
