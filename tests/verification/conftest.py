from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.ground import Ground
from harness.pump import System, files_in
from harness.story import LAMP, live_through_everything


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A system in which everything has happened; to be read, not spoiled."""
    folder = tmp_path_factory.mktemp("lived")
    system = System(files_in(folder))
    live_through_everything(system)
    system.close()
    ground = Ground(folder, tmp_path_factory.mktemp("whole") / "copy", system.clock.now())
    yield ground
    ground.close()


@pytest.fixture(scope="session")
def spoilable(lived: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The same, with the recorded decisions of one order alone: deciding them all again for each test takes time."""
    brief = Ground(lived.pristine, tmp_path_factory.mktemp("brief") / "copy", lived.now)
    for name in brief.databases:
        brief.spoil(name, "DELETE FROM decisions WHERE key <> 'sold'")
    brief.close()
    ground = Ground(brief.folder, tmp_path_factory.mktemp("ground") / "copy", lived.now)
    yield ground
    ground.close()


@pytest.fixture
def ground(spoilable: Ground) -> Iterator[Ground]:
    """The files of a system in which everything has happened. The test may spoil them: they come back."""
    yield spoilable
    spoilable.restore()


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A system that has lamps and no orders yet."""
    system = System(files_in(tmp_path))
    system.declare(LAMP)
    system.settle()
    yield system
    system.close()
