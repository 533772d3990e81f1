"""What stands in the way is said before anything is started."""

import shutil
import socket
from pathlib import Path

import pytest

from orderflow.local import up as module
from orderflow.local.board import PlainLines
from orderflow.local.errors import LocalError
from orderflow.local.ports import free_ports
from orderflow.local.state import Folder, Lock
from orderflow.local.up import default_cache, up
from orderflow.spec.errors import SpecError

MANIFEST = "apiVersion: orderflow.dev/v1alpha1\nkind: OrderFlow\nmetadata: {name: shop}\nspec:\n  gateway: {port: %d}\n"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(MANIFEST % 8080)
    return path


def sentence(manifest: Path, data_dir: Path, *, detach: bool = False) -> str:
    with pytest.raises(LocalError) as caught:
        up(manifest, data_dir, detach=detach, reporter=PlainLines())
    return str(caught.value)


def test_a_broken_manifest_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(MANIFEST % 0)
    with pytest.raises(SpecError, match=r"shop\.yaml:5: spec\.gateway\.port: expected `int` >= 1$"):
        up(path, tmp_path / "data", reporter=PlainLines())
    assert not (tmp_path / "data").exists()


def test_a_gateway_port_in_use_is_named(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        path.write_text(MANIFEST % port)
        assert sentence(path, tmp_path / "data").startswith(f"port {port} on 127.0.0.1 is in use")


@pytest.mark.parametrize("detach", [False, True])
def test_a_folder_that_cannot_be_is_named(manifest: Path, tmp_path: Path, detach: bool) -> None:
    (tmp_path / "file").touch()
    expected = f"nothing can be written to {tmp_path}/file/data: Not a directory"
    assert sentence(manifest, tmp_path / "file" / "data", detach=detach) == expected


def test_a_full_disk_is_named(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=3 * 1024 * 1024)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    assert sentence(manifest, tmp_path / "data") == (f"only 3 MB are free where {tmp_path / 'data'} is, 256 are needed")


def test_a_second_system_in_the_same_folder_is_refused(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GLANCE", 0.01)
    folder = Folder(tmp_path / "data")
    folder.root.mkdir()
    lock = Lock(folder.supervisor_lock)
    lock.take(patience=0)
    said = sentence(manifest, folder.root)
    lock.give_back()
    assert said.startswith(f"the system in {folder.root} is running already (pid ")
    assert said.endswith("`orderflow status` shows it, `orderflow down` stops it")


def test_the_cache_is_where_the_user_keeps_such_things(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert default_cache() == Path("/cache/orderflow")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_cache() == Path("/home/me/.cache/orderflow")


def test_a_missing_driver_is_named_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "shop.yaml"
    database = "  database: {url: 'postgresql+psycopg://me@127.0.0.1:1/shop_{context}'}\n"
    path.write_text(MANIFEST % free_ports(1) + database)
    monkeypatch.setattr("orderflow.local.up.find_spec", lambda _name: None)
    assert sentence(path, tmp_path / "data") == (
        "psycopg is not installed, which spec.database.url needs: pip install 'orderflow[postgres]'"
    )
