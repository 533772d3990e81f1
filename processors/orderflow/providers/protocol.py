"""How the outside is called, whoever provides it.

A provider knows each request by its idempotency key: calling again under a key answers as the first call did and
does nothing twice. :meth:`Provider.query` tells what became of a key whose call was lost.
"""

from typing import Protocol

import msgspec


class ProviderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call: ``operation`` as the provider names it (``charge``, ``refund``, ``book``, ``cancel``, ``deliver``)."""

    operation: str
    key: str
    arguments: dict[str, str]


class ProviderAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A definitive answer: what the provider did or refused to do, and will repeat for this key for ever."""

    status: str
    reference: str | None = None
    detail: dict[str, str] = {}


class ProviderError(Exception):
    """Base of what a call can end in short of an answer. None of them is an answer."""


class Unavailable(ProviderError):  # noqa: N818 - names a state of the provider
    """The provider did nothing and says so (429, 503, connection refused): calling again is safe and may help."""


class Unclear(ProviderError):  # noqa: N818 - names a state of our knowledge
    """The call may or may not have had its effect (time-out, connection lost): ask by key before calling again."""


class Provider(Protocol):
    """One outside party."""

    name: str

    async def call(self, request: ProviderRequest) -> ProviderAnswer:
        """Carry the request out, once per key.

        Raises:
            Unavailable: nothing happened.
            Unclear: it may have happened.
        """

    async def query(self, request: ProviderRequest) -> ProviderAnswer | None:
        """Return the answer recorded under the request's operation and key, or ``None`` if it never arrived.

        Raises:
            Unavailable: the provider cannot tell now.
            Unclear: no answer came.
        """
