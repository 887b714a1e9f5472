"""The server's routes, put together.

Decides: what is served. Must never: start or stop anything but its own sockets.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry

from fillwright.api.access import Access
from fillwright.api.brackets import Brackets
from fillwright.api.documents import Documents
from fillwright.api.edge import BODY_MAX, make_edge
from fillwright.api.events import Events
from fillwright.api.laboratory import Laboratory
from fillwright.api.legacy import Legacy
from fillwright.api.markets import Markets
from fillwright.api.measured import SocketMetrics, make_measured
from fillwright.api.orders import Orders
from fillwright.api.pages import Pages
from fillwright.api.probes import Probes
from fillwright.api.resolving import Resolving
from fillwright.api.sockets import Sockets
from fillwright.api.status import StatusPage
from fillwright.api.stream import Stream
from fillwright.api.tickets import Tickets
from fillwright.api.webhooks import Webhooks
from fillwright.engine import Engine
from fillwright.lab import Lab


def make_app(
    engine: Engine,
    access: Access,
    *,
    registry: CollectorRegistry,
    request_id: Callable[[], str],
    lab: Lab | None = None,
) -> web.Application:
    """The application of one engine. Its shutdown tells every open socket to come back later."""
    app = make_probes(engine, access, registry=registry, request_id=request_id)
    sockets = Sockets(SocketMetrics(registry))
    app.add_routes(Orders(engine).routes())
    app.add_routes(Brackets(engine).routes())
    app.add_routes(Resolving(engine).routes())
    app.add_routes(Markets(engine).routes())
    app.add_routes(Webhooks(engine).routes())
    app.add_routes(StatusPage(engine).routes())
    app.add_routes(Laboratory(engine, lab).routes())
    app.add_routes(Stream(engine, sockets).routes())
    events = Events(engine)
    app.add_routes(events.routes())
    app.add_routes(Legacy(engine, sockets).routes())
    app.add_routes(Tickets(access).routes())
    app.add_routes(Pages().routes())
    app.add_routes(Documents().routes())
    access.at_refresh(lambda: sockets.review(access.holds))
    access.at_refresh(lambda: events.review(access.holds))

    async def close_sockets(_: web.Application) -> None:
        await events.close()
        await sockets.close()

    app.on_shutdown.append(close_sockets)
    return app


def make_probes(
    engine: Engine, access: Access, *, registry: CollectorRegistry, request_id: Callable[[], str]
) -> web.Application:
    """Health and metrics alone, for a process that only works."""
    measured = make_measured(registry, engine.clock.monotonic)
    app = web.Application(middlewares=[measured, make_edge(access, request_id)], client_max_size=BODY_MAX)
    app.add_routes(Probes(engine, registry).routes())

    async def keep_keys_fresh(_: web.Application) -> AsyncIterator[None]:
        await access.refresh()
        keeping = asyncio.create_task(access.run())
        yield
        keeping.cancel()

    app.cleanup_ctx.append(keep_keys_fresh)
    return app
