"""What a person who brings a system up can be told."""


class LocalError(Exception):
    """The system cannot be brought up, or was. The text is one sentence that says what to do, where anything can be done."""


def last_line(text: str) -> str:
    """Return the line of a log that tells most of why its process ended: the last that speaks of an error, else the last.

    A traceback's last line and Kafka's ``Caused by`` are such lines.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("\t", "    at "))]
    telling = [line for line in lines if "Error" in line or "ERROR" in line or "Exception" in line]
    return (telling or lines or [""])[-1][:400]
