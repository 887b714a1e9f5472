"""Every seam of the engine, with what each side may rely on.

Decides: what a store, queue, bus, venue, chain and clock owe the core. Must never: know an implementation.
Each obligation here is a test in tests/conformance, run over every adapter. An adapter translates foreign
exceptions into FillwrightError, once, at its edge.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, Self

import msgspec

from fillwright.access import Key, KeyId, Ticket
from fillwright.errors import Problem
from fillwright.order import Fill, Leg, Mode, Order, Recorded, Side, SignedTx, Stamped, Status
from fillwright.pools import ChainTime, Pool
from fillwright.sniping import Facts, Listing
from fillwright.units import Atoms, Millis, Mint, OrderId, Signature
from fillwright.webhooks import Delivery, Message, Outcome, Webhook, WebhookId

# --- store: the truth -------------------------------------------------------------------------------------


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted order and what makes its request unique."""

    accepted: Recorded
    idempotency_key: str | None
    fingerprint: bytes
    """Hash of the request's meaning: equal for a repetition, different for another request."""


class Stored(msgspec.Struct, frozen=True):
    """The order that the store holds after `create`, which may be an earlier one."""

    order: Order
    fingerprint: bytes
    is_new: bool


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which orders of an account to list, newest first. `before` is the last id of the page before."""

    account: str
    limit: int
    statuses: frozenset[Status] | None = None
    mints: frozenset[Mint] | None = None
    side: Side | None = None
    since: Millis | None = None
    until: Millis | None = None
    before: OrderId | None = None


class Backlog(msgspec.Struct, frozen=True):
    """Orders that wait for a worker's first look, as far as they were counted, and how long the longest has waited."""

    waiting: int
    oldest_s: float


class Switch(msgspec.Struct, frozen=True):
    """A dead-man's switch: from `fires_at` on, by the store's clock, the account's open orders are to be canceled."""

    account: str
    fires_at: Millis


class Place(msgspec.Struct, frozen=True, order=True):
    """Where an event stands in the log of all events. Only the order of places has a meaning."""

    transaction: int
    id: int


class Logged(msgspec.Struct, frozen=True):
    """One entry of the log."""

    place: Place
    account: str
    order_id: OrderId
    seq: int
    status: str
    """Of the order after the event."""
    event: str
    """The event's name."""


class Conflict(Exception):
    """The order has moved on since it was read: nothing was changed."""


class Store(Protocol):
    """Orders and their history. Calls of one process may share a transaction; callers just await.

    Every method may raise FillwrightError(STORE_UNAVAILABLE). After that from `create`, `record` or `claim` the
    change may or may not have been made: the caller reads again, or leaves the order to the sweep. Even one that is not
    seen then may appear after a crash, until a later change of the same order is answered.
    """

    async def create(self, new: NewOrder, *tied: NewOrder) -> Stored:
        """Make the order durable before returning, and those tied to it, which have no names: all or none.

        Where the account has an order with this idempotency key (first) or client order id (second), that one is
        returned unchanged: an account's key names one order for ever. A new key with a known client order id and the
        same fingerprint from then on names that order too. Nothing of `tied` is stored then.
        """

    async def get(self, account: str, order_id: OrderId) -> Order | None: ...

    async def get_by_client_id(self, account: str, client_order_id: str) -> Order | None: ...

    async def get_by_key(self, account: str, idempotency_key: str) -> Order | None: ...

    async def page(self, page: Page) -> list[Order]: ...

    async def history(self, account: str, order_id: OrderId) -> list[Stamped]:
        """All events of the order by seq, from 1 on without a gap; empty where there is no such order."""

    async def record(self, before: Order, recorded: Sequence[Recorded]) -> None:
        """Append the events and move the order to the last one's state, all or nothing, durably.

        Raises Conflict, having changed nothing, unless the stored order's seq still is `before.seq`; and where the
        order would hold its group (`Order.holds`) while another one does.
        """

    async def claim(self, order_ids: Sequence[OrderId], worker: str) -> list[Recorded]:
        """Take those of these orders that are due and held by nobody, by this worker, or by a dead one.

        Each is claimed by the compare-and-set of its event `order.claim(...)`. Whether a worker is dead is judged
        by the store's clock.
        """

    async def due(self, worker: str, limit: int) -> list[OrderId]:
        """Orders that `claim` by this worker would take now, longest due first."""

    async def backlog(self, limit: int) -> Backlog:
        """The pending orders that are due, counted up to `limit`; their age is judged by the store's clock."""

    async def heartbeat(self, worker: str) -> None:
        """This worker is alive, by the store's clock."""

    async def retire(self, worker: str) -> None:
        """This worker has stopped: what it still holds may be claimed at once."""

    async def alive(self) -> int:
        """How many workers are alive now, by the store's clock."""

    async def resting(self, after: OrderId | None, limit: int) -> list[Order]:
        """The orders of all accounts that are open (`Status.OPEN`) now, by id, those after this one."""

    async def log(self, after: Place, limit: int, *, resting: bool = False) -> list[Logged]:
        """The next events of all orders after this place, or of those only whose intent `is_watched`; at most so many.

        The log only grows at its end: once an event was returned, nothing appears before it any more, whatever else was
        being written at the time. So who goes on after the last one returned misses nothing. The events of one order
        stand in the order of their seq. A committed event may be held back for as long as an older transaction lasts.
        """

    async def log_end(self) -> Place:
        """The place of the last event that `log` returns now; before all places where there is none."""

    async def log_since(self, at: Millis) -> Place:
        """A place before every event that happened at `at` or later; the log is about in the order of time, so those
        right after it may be older by as much as clocks differ."""

    async def arm(self, account: str, seconds: int) -> Switch:
        """Set the account's one switch to fire in so many seconds, durably, in place of any earlier time."""

    async def disarm(self, account: str, switch: Switch | None = None) -> None:
        """Remove the account's switch, durably; where `switch` is given, only if it has not been armed again since."""

    async def fired(self, limit: int) -> list[Switch]:
        """Switches whose time has come, longest ago first. They stay until they are removed."""

    async def ping(self) -> None:
        """Return if the store can answer."""


# --- keys: who may come in --------------------------------------------------------------------------------


class Keys(Protocol):
    """API keys and stream tickets, in the store's database.

    Every method may raise FillwrightError(STORE_UNAVAILABLE).
    """

    async def add(self, key: Key) -> None:
        """Make a key durable before returning; where its id is known already, nothing is changed."""

    async def active(self) -> list[Key] | None:
        """The keys that are not revoked; None as long as no key was ever added: that is not the same as none left."""

    async def page(self, limit: int) -> list[Key]:
        """The latest keys, revoked ones included, newest first."""

    async def revoke(self, key_id: KeyId, now: Millis) -> Key | None:
        """The key, revoked by now or earlier; None where there is no such key."""

    async def touch(self, used: Mapping[KeyId, Millis]) -> None:
        """Remember when keys were last used; an earlier time never replaces a later one."""

    async def add_ticket(self, ticket: Ticket, now: Millis) -> None:
        """Remember it until it is taken or expires; expired ones may be forgotten."""

    async def take_ticket(self, digest: bytes, now: Millis) -> Ticket | None:
        """The ticket, for the first caller only, and only before it expires."""


# --- webhooks: who is told, and what was ------------------------------------------------------------------


class Follower(msgspec.Struct, frozen=True):
    """An enabled webhook, and up to where in the log its messages were made."""

    webhook: Webhook
    place: Place


class Due(msgspec.Struct, frozen=True):
    """A delivery that was taken to be sent, and its webhook as it is now."""

    delivery: Delivery
    webhook: Webhook


class Webhooks(Protocol):
    """Webhooks and their deliveries, in the store's database and by its clock.

    Every method may raise FillwrightError(STORE_UNAVAILABLE).
    """

    async def add(self, webhook: Webhook, place: Place, limit: int) -> Webhook | None:
        """Make it durable, to be told what follows `place`. The one that already has its account's idempotency key is
        returned instead; None, and nothing changed, where the account has `limit` already."""

    async def of(self, account: str) -> list[Webhook]:
        """All of an account, oldest first."""

    async def get(self, account: str, webhook_id: WebhookId) -> Webhook | None: ...

    async def change(self, after: Webhook, place: Place | None = None) -> bool:
        """Replace what its owner may change, and its place in the log where one is given. Whether it was done: only
        while the stored revision is that of `after`, which then counts on."""

    async def remove(self, account: str, webhook_id: WebhookId) -> bool:
        """With its deliveries. Whether there was one."""

    async def rewind(self, account: str, webhook_id: WebhookId, place: Place) -> None:
        """Tell again what follows `place`, unless it is still to be told anyway."""

    async def following(self, waiting_max: int) -> list[Follower]:
        """Enabled webhooks of all accounts with fewer deliveries waiting than that."""

    async def advance(
        self, webhook_ids: Sequence[WebhookId], before: Place, after: Place, messages: Sequence[Message]
    ) -> None:
        """Move those of these webhooks that are still at `before` on to `after`, and keep their messages to be sent:
        both or neither. A message that is known is sent once more."""

    async def put(self, messages: Sequence[Message]) -> None:
        """Keep messages to be sent, each unless its webhook is gone; one that is known is sent once more."""

    async def revive(self, account: str, webhook_id: WebhookId) -> int:
        """Send again at once what failed, and what waits for another try. How many."""

    async def deliveries(
        self, account: str, webhook_id: WebhookId, limit: int, before: int | None = None
    ) -> list[Delivery]:
        """Newest first, from before that number on."""

    async def take(self, limit: int, each: int, without: Sequence[WebhookId], lease_s: float) -> list[Due]:
        """Take deliveries that are due, at most `each` of one enabled webhook, none of those `without`. They are nobody
        else's to take for `lease_s`; then, if they were not settled, anybody's."""

    async def settle(self, delivery: Delivery, outcome: Outcome, failing_s_max: int) -> Webhook | None:
        """What has become of a delivery that was taken; nothing changes if somebody took it since.

        Success ends the webhook's failing, and what else waits for another try is due at once. A webhook that is gone,
        or has failed for `failing_s_max`, is disabled. The webhook, if that has just happened.
        """

    async def oldest_s(self) -> float:
        """How long the oldest delivery of the enabled webhooks has waited; 0.0 where none does."""

    async def forget(self, older_than_s: float, limit: int) -> int:
        """Remove deliveries made before that which are settled, or whose webhook is disabled. How many."""


class Reply(msgspec.Struct, frozen=True):
    """What came of one request: a status, or in few words why there was none."""

    status: int | None
    error: str | None = None


class Messenger(Protocol):
    """Takes messages out."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """One request, within a limit of time, to nobody but who may be called; no redirect is followed, and nothing
        of the answer but its status is kept. Never raises."""


# --- spending: what a wallet's caps have left --------------------------------------------------------------


class Take(msgspec.Struct, frozen=True):
    """What a transaction may spend of a token at most, and the caps on it. None: no such cap."""

    mint: Mint
    amount: Atoms
    order_cap: Atoms | None
    day_cap: Atoms | None


class Excess(msgspec.Struct, frozen=True):
    """A cap that a transaction would go beyond."""

    mint: Mint
    take: Atoms
    spent: Atoms
    """What counts against the cap already."""
    of_day: bool
    """Whether it is the cap of 24 hours; else that of one order."""


class Spending(Protocol):
    """What transactions may have spent, in the store's database and by its clock, of all accounts and processes.

    Every method may raise FillwrightError(STORE_UNAVAILABLE).
    """

    async def reserve(self, order_id: OrderId, takes: Sequence[Take]) -> Excess | None:
        """Count what the order's next transaction may spend, durably, all or nothing; or tell what would be too much.

        It counts from now on for 24 hours, and for its order for ever, unless that transaction comes to nothing: it
        stops counting when the order tries again (which it does only after proof), waits or ends without it.
        Two calls never share what is left of a cap.
        """

    async def spent(self, mint: Mint) -> Atoms:
        """What counts of this token now: of the last 24 hours."""


# --- queue and bus: hints ---------------------------------------------------------------------------------


class Queue(Protocol):
    """Hints that orders may be ready. May forget, repeat and reorder; never fails or blocks a producer."""

    async def put(self, order_ids: Sequence[OrderId]) -> None: ...

    async def take(self, limit: int) -> list[OrderId]:
        """Wait for at least one hint and return up to `limit`."""

    def depth(self) -> int:
        """Hints waiting, as far as known."""

    @property
    def dropped(self) -> int:
        """Hints that this process has forgotten so far: for the metrics."""


class News(msgspec.Struct, frozen=True):
    """A committed event as watchers are told it."""

    order_id: OrderId
    account: str
    seq: int
    ended: bool
    """Whether it is the order's last event."""
    frame: bytes
    """What clients see of it, encoded once. The engine never reads it."""


class Bus(Protocol):
    """Committed events, while they happen. May drop, repeat and reorder; readers mend by `seq`."""

    async def publish(self, news: Sequence[News]) -> None:
        """Only ever called with events that are committed. Never fails or blocks its caller: it drops instead."""

    def subscribe(self, order_id: OrderId | None) -> AbstractAsyncContextManager["Inbox"]:
        """Events of one order, or of all, published from entering the context on."""

    @property
    def dropped(self) -> int:
        """Events that this process could not publish so far: for the metrics."""


class Inbox(Protocol):
    """One subscriber's events, bounded."""

    async def take(self, within_s: float) -> list[News]:
        """All that has arrived; empty after at most `within_s` seconds of silence: the reader then asks the store."""

    @property
    def lossy(self) -> bool:
        """Whether events may have been dropped: the reader was too slow, or the bus was cut."""


# --- venue: pools and instructions ------------------------------------------------------------------------


class Snapshot(msgspec.Struct, frozen=True):
    """Pools of a venue at one moment of the chain."""

    pools: tuple[Pool, ...]
    time: ChainTime


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """One swap as the chain is asked for it. `limit`: least out for exact in, most in for exact out.

    Several make one transaction, which happens whole or not at all. Between two swaps over an intermediate token
    nothing is left over: for exact in the later ones swap all that arrived, for exact out the earlier ones get
    just what is needed; `amount` is then the share that was quoted.
    """

    venue: str
    pool: str
    mint_in: Mint
    mint_out: Mint
    mode: Mode
    amount: Atoms
    limit: Atoms

    @classmethod
    def of(cls, leg: Leg, *, mode: Mode, limit: Atoms) -> Self:
        """This leg, with its amount at the end that `mode` fixes."""
        return cls(
            venue=leg.venue,
            pool=leg.pool,
            mint_in=leg.mint_in,
            mint_out=leg.mint_out,
            mode=mode,
            amount=leg.amount_in if mode is Mode.EXACT_IN else leg.amount_out,
            limit=limit,
        )


class Venue(Protocol):
    """A DEX. May be slow or fail: `guard.GuardedVenue` stands before each and bounds its calls."""

    name: str

    async def pools(self, mints: frozenset[Mint]) -> Snapshot:
        """This venue's pools that trade two of these tokens. Raises FillwrightError(VENUE_UNAVAILABLE)."""

    async def build(self, leg: Leg, *, mode: Mode, limit: Atoms) -> Instruction:
        """The instruction that swaps this leg within its limit. Raises FillwrightError(VENUE_UNAVAILABLE)."""


# --- chain: evidence --------------------------------------------------------------------------------------


class Rejection(msgspec.Struct, frozen=True):
    """The chain executed the transaction and undid it."""

    slot: int
    problem: Problem


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """One node's view of one transaction. `outcome` is None while that node has no trace of it.

    The node's height and slot are those of blocks that nobody takes back, are read before its look-up of the
    transaction, and come from the same node: only then do a height beyond the last valid one and a missing trace
    together prove that it can never land.
    """

    height: int
    slot: int
    outcome: Fill | Rejection | None


class Chain(Protocol):
    """Where orders settle. Every method may raise FillwrightError(CHAIN_UNAVAILABLE)."""

    @property
    def landed_is_final(self) -> bool:
        """Whether an outcome that `look` has told is never taken back."""

    async def sign(self, order_id: OrderId, attempt: int, instructions: Sequence[Instruction]) -> SignedTx:
        """Sign one transaction of these instructions, unlike any other ever signed. Has no effect on the chain.

        `limit` of the result is the sum of the limits at the end that is not fixed.
        """

    async def broadcast(self, tx: SignedTx) -> None:
        """Hand the bytes to the network. May be repeated; returning or raising says nothing about the outcome."""

    async def look(self, signature: Signature) -> Sighting:
        """What one node knows of the transaction, its whole history included."""

    async def ping(self) -> None:
        """Return if a node answers."""


# --- signer: the key ---------------------------------------------------------------------------------------


class Signer(Protocol):
    """Holds the wallet's key, and shows it to nobody."""

    @property
    def address(self) -> str:
        """The wallet's public key, in base58."""

    async def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature. Raises FillwrightError(SIGNER_UNAVAILABLE)."""


# --- discovery: new pools ---------------------------------------------------------------------------------


class Discovery(Protocol):
    """What is new on the chain. Every method may raise FillwrightError(CHAIN_UNAVAILABLE)."""

    async def new_pools(self, within_s: int) -> Sequence[Listing]:
        """Pools that were created in the last so many seconds, newest first; the oldest may be left out."""

    async def facts(self, listing: Listing) -> Facts | None:
        """What is known of the pool and of its new token now: not older than anything signed before. None: it is gone.

        What cannot be found out is told for the worse.
        """


# --- clock ------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Time, passed in so that the simulation can own it."""

    def now(self) -> Millis:
        """Milliseconds since the epoch: for stamps and deadlines; may be wrong, never decides an outcome."""

    def monotonic(self) -> float:
        """Seconds that only grow: for durations."""

    async def sleep(self, seconds: float) -> None: ...


class Entropy(Protocol):
    """Random bytes, passed in for the same reason."""

    def __call__(self, size: int, /) -> bytes: ...
