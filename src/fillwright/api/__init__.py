"""HTTP and WebSocket: requests in, engine calls, JSON out.

Decides: addresses, status codes, headers and sockets. Must never: know an adapter, or decide about an order.
"""

from fillwright.api.access import Access, is_loopback
from fillwright.api.app import make_app, make_probes
from fillwright.api.edge import is_ours_to_tell

__all__ = ["Access", "is_loopback", "is_ours_to_tell", "make_app", "make_probes"]
