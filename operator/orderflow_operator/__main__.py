"""``python -m orderflow_operator``: told by its environment what to do, until a signal."""

import asyncio
import logging
import os
import signal
import socket
import sys

import structlog
from kubernetes.aio import config
from kubernetes.aio.client import Configuration as ClientConfiguration
from kubernetes.aio.client.api_client import ApiClient

from orderflow_operator.operating import Configuration, Operator, namespaces_of


def main() -> None:
    """Operate."""
    _configure_logging(os.environ.get("ORDERFLOW_OPERATOR_LOG_LEVEL", "info"))
    sys.exit(asyncio.run(_operate()))


async def _operate() -> int:
    settings = ClientConfiguration()
    await _find_cluster(settings)
    async with ApiClient(settings) as client:
        operator = Operator(_configuration(), client)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, operator.stop)
        return await operator.run()


async def _find_cluster(settings: ClientConfiguration) -> None:
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        config.load_incluster_config(settings)
    else:
        await config.load_kube_config(client_configuration=settings)


def _configuration() -> Configuration:
    said = os.environ
    return Configuration(
        identity=said.get("POD_NAME") or socket.gethostname(),
        pod=said.get("POD_UID", ""),
        namespace=said.get("POD_NAMESPACE") or "default",
        namespaces=tuple(namespaces_of(said.get("ORDERFLOW_OPERATOR_NAMESPACES", ""))),
        image=said.get("ORDERFLOW_OPERATOR_IMAGE") or "orderflow:latest",
        port=int(said.get("ORDERFLOW_OPERATOR_PORT") or 8080),
    )


def _configure_logging(level: str) -> None:
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(number),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )


if __name__ == "__main__":
    main()
