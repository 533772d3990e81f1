"""A private Prometheus that scrapes what a test tells it to."""

import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Mapping

from servers.process import Server, data_folder, free_port, program


class Prometheus:
    """A Prometheus server on a port of its own; each of ``targets`` (``host:port``) is scraped with its labels."""

    def __init__(self, targets: Mapping[str, Mapping[str, str]]) -> None:
        self._folder = data_folder("prometheus")
        self.address = f"http://127.0.0.1:{free_port()}"
        configuration = {
            "global": {"scrape_interval": "500ms"},
            "scrape_configs": [
                {
                    "job_name": "pods",
                    "static_configs": [{"targets": [target], "labels": labels} for target, labels in targets.items()],
                }
            ],
        }
        file = self._folder / "prometheus.yml"
        file.write_text(json.dumps(configuration))
        file.chmod(0o644)
        options = [
            f"--config.file={file}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={self.address.removeprefix('http://')}",
        ]
        self._server = Server([program("prometheus", "prometheus"), *options], self._folder, self._is_up)

    def scraped_again(self) -> None:
        """Wait as long as it takes for the next look at the targets."""
        time.sleep(0.5)

    def close(self) -> None:
        """Stop the server for good."""
        self._server.stop()
        shutil.rmtree(self._folder)

    def _is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
