"""The Python client: `Client` for asyncio, `SyncClient` for everything else.

Decides: what is public here. Must never: hold behaviour of its own.

    async with Client("http://127.0.0.1:3000") as client:
        order = await client.submit({"tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"})
        async for frame in client.watch(order.id):
            print(frame.status, frame.tx_hash)
"""

from fillwright.client.calls import (
    Amendment,
    Client,
    ExitRequest,
    OrderRequest,
    RequireRequest,
    ScheduleRequest,
    SniperRequest,
    TrailRequest,
    TriggerRequest,
)
from fillwright.client.failures import (
    ApiError,
    ClientError,
    Conflict,
    NotFound,
    NotUnderstood,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from fillwright.client.sync import SyncClient
from fillwright.wire.explain import ExplainView
from fillwright.wire.frames import Frame, QuoteFrame
from fillwright.wire.market import PoolView, VenueView
from fillwright.wire.resources import (
    AttemptView,
    BracketView,
    CancelView,
    FillView,
    OrderView,
    PreviewView,
    RouteView,
    SwitchView,
)

__all__ = [
    "Amendment",
    "ApiError",
    "AttemptView",
    "BracketView",
    "CancelView",
    "Client",
    "ClientError",
    "Conflict",
    "ExitRequest",
    "ExplainView",
    "FillView",
    "Frame",
    "NotFound",
    "NotUnderstood",
    "OrderRequest",
    "OrderView",
    "OutcomeUnknown",
    "PoolView",
    "PreviewView",
    "QuoteFrame",
    "RateLimited",
    "Refused",
    "RequireRequest",
    "RouteView",
    "ScheduleRequest",
    "SniperRequest",
    "SwitchView",
    "SyncClient",
    "TrailRequest",
    "TriggerRequest",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
    "VenueView",
]
