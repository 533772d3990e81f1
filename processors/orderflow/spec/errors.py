"""What is wrong with a resource, in one sentence."""


class SpecError(ValueError):
    """A resource, or a file that should hold one, cannot be used.

    The text is one sentence: ``file:line: field: reason``, as far as they are known.

    Attributes:
        field: the path from the root of the resource, as in ``spec.processors.payment.replicas``; may be empty.
        reason: what was expected and what came.
        file: the file as its reader named it; empty where the resource did not come from one.
        line: counted from 1; 0 where there is none.
    """

    def __init__(self, reason: str, *, field: str = "", file: str = "", line: int = 0) -> None:
        place = f"{file}:{line}" if file and line else file
        super().__init__(": ".join(part for part in (place, field, reason) if part))
        self.reason = reason
        self.field = field
        self.file = file
        self.line = line
