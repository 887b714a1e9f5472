"""A client of the second older engine: `python dialect_b.py http://host:port`. It knows that engine's API alone.

It asks for the upgrade on the very connection that carried its POST.
"""

import base64
import http.client
import json
import os
import sys
from typing import Any
from urllib.parse import urlsplit


def main(url: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    order = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": 1.5, "slippageBps": 50}
    connection.request("POST", "/api/orders/execute", json.dumps(order), {"Content-Type": "application/json"})
    response = connection.getresponse()
    accepted = json.loads(response.read())
    if response.status != 200:
        sys.exit(f"not accepted: {accepted['error']}")
    print("accepted", accepted["status"])
    socket = connection.sock
    connection.putrequest("GET", f"/api/orders/execute?orderId={accepted['orderId']}")
    for name, value in {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}.items():
        connection.putheader(name, value)
    connection.putheader("Sec-WebSocket-Key", base64.b64encode(os.urandom(16)).decode())
    connection.endheaders()
    if connection.sock is not socket:
        sys.exit("the connection was not kept")
    stream = socket.makefile("rb")
    if b" 101 " not in stream.readline():
        sys.exit("not upgraded")
    while stream.readline().strip():
        pass
    while (frame := read_frame(stream)) is not None:
        print(frame["status"], frame["orderId"] == accepted["orderId"])


def read_frame(stream: Any) -> Any:
    """The next text frame's JSON; None once the server closes."""
    first, second = stream.read(2)
    size = {126: 2, 127: 8}.get(second)
    payload = stream.read(int.from_bytes(stream.read(size)) if size else second)
    return json.loads(payload) if first == 0x81 else None


main(sys.argv[1])
