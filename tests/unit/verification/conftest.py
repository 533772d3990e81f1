from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.ground import Ground
from harness.pump import System
from harness.story import LAMP, live_through_everything


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A system in which everything has happened, built once."""
    pristine = tmp_path_factory.mktemp("lived")
    system = System(pristine)
    live_through_everything(system)
    system.close()
    ground = Ground(pristine, tmp_path_factory.mktemp("ground") / "copy", system.clock.now())
    yield ground
    ground.close()


@pytest.fixture
def ground(lived: Ground) -> Iterator[Ground]:
    """The files of that system, as it left them. A test may spoil them."""
    yield lived
    lived.restore()


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A system that has lamps and no orders yet."""
    system = System(tmp_path)
    system.declare(LAMP)
    system.settle()
    yield system
    system.close()
