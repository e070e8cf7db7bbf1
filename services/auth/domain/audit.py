"""Writes down who logged in and who was refused, and spares the flash."""

from collections import OrderedDict
from collections.abc import Sequence

from services.auth.domain.model import Login, Outcome
from services.auth.domain.ports import Clock, Store

BASIC_INTERVAL_S = 3600.0
REMEMBERED = 1024


class Audit:
    """The bounded list of logins."""

    def __init__(self, store: Store, wall_clock: Clock, clock: Clock) -> None:
        self._store = store
        self._wall_clock = wall_clock
        self._clock = clock
        self._basic: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def record(self, username: str, address: str, outcome: Outcome) -> None:
        """Adds an entry."""
        await self._store.add_login(Login(self._wall_clock(), username, address, outcome))

    async def basic_accepted(self, username: str, address: str) -> None:
        """Adds an entry for a Basic header, which comes with every request, at most once an hour."""
        key, now = (username, address), self._clock()
        written_s = self._basic.get(key)
        if written_s is not None and now - written_s < BASIC_INTERVAL_S:
            return
        self._basic[key] = now
        self._basic.move_to_end(key)
        if len(self._basic) > REMEMBERED:
            self._basic.popitem(last=False)
        await self.record(username, address, Outcome.ACCEPTED)

    async def page(self, before_id: int | None, size: int) -> Sequence[tuple[int, Login]]:
        """Returns at most `size` entries with their ids, newest first, older than `before_id`."""
        return await self._store.logins(before_id, size)
