"""How often somebody may show a wrong token, so that a short one cannot be found by trying.

Each address has `AT_ONCE` wrong ones, and gets one back every `ONE_MORE_S` seconds. Once they are used up, no token from there
is looked at, right or wrong: an answer that tells them apart would be another try. Who has signed in already is not concerned.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address

import structlog

log = structlog.get_logger()

AT_ONCE = 10
ONE_MORE_S = 6.0
MOST_ADDRESSES = 10_000
"""So many are remembered; of more, those are forgotten that have tried nothing for the longest time."""


@dataclass(slots=True)
class Attempts:
    """See the top of the file.

    Attributes:
        clock: Seconds, of a clock that is never set.
    """

    clock: Callable[[], float] = time.monotonic
    _used: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict, repr=False)
    """By address: how many wrong ones count, and when that was true."""

    def wait_s(self, address: str | None) -> float:
        """How long nothing from an address is looked at; 0: it may try now."""
        return max(0.0, (self._count(_source(address)) - (AT_ONCE - 1)) * ONE_MORE_S)

    def failed(self, address: str | None) -> None:
        """Something wrong has come from an address."""
        source = _source(address)
        count = self._count(source) + 1
        self._used[source] = (count, self.clock())
        self._used.move_to_end(source)
        if len(self._used) > MOST_ADDRESSES:
            self._used.popitem(last=False)
        log.warning("admin_token_wrong", address=address, **({"locked": True} if count > AT_ONCE - 1 else {}))

    def _count(self, source: str) -> float:
        count, at = self._used.get(source, (0.0, 0.0))
        return max(0.0, count - (self.clock() - at) / ONE_MORE_S)


def _source(address: str | None) -> str:
    """What counts as one: of IPv6 a whole network, all of whose addresses one machine can have."""
    try:
        found = ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or ""
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(IPv6Address(int(found) >> 64 << 64))
    return str(found)
