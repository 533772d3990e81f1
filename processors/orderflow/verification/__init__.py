"""The one checker of every promise: the tests, the drills and ``orderflow verify`` ask it.

It reads what the contexts' databases and the providers' records hold, one snapshot of each, and holds it against the
promises of the design: pure checks over rows. It writes nothing and asks nobody.

A system that stands still is held to all of it: every order has ended, every message has arrived. Of one that runs
(``online``), whatever is younger than a grace is left alone.
"""

from orderflow.verification.rendering import render
from orderflow.verification.report import PROMISES, PromiseReport, Report, Violation
from orderflow.verification.verifying import GRACE, verify

__all__ = ["GRACE", "PROMISES", "PromiseReport", "Report", "Violation", "render", "verify"]
