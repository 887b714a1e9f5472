"""What takes messages out owes its courier: see ports.Messenger. Real sockets, real names, real certificates."""

import asyncio
import gzip
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.typedefs import Handler

from fillwright.adapters.outbound import HttpMessenger
from fillwright.ports import Reply
from tests.conformance.rigs import in_loop

NAME: Final = "receiver.example"
HEADERS: Final = {"content-type": "application/json", "webhook-id": "msg_1"}


class Names(AbstractResolver):
    """Names that mean another address each time they are asked for, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=each,
                port=port,
                family=socket.AF_INET6 if ":" in each else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for each in found
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def receiver(
    handler: Handler, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Its port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, port, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def messenger(**options: Any) -> AsyncIterator[HttpMessenger]:
    made = HttpMessenger(**{"allow_private": True, "post_s": 5.0, **options})
    try:
        yield made
    finally:
        await made.close()


def counting(seen: list[web.Request], answer: Callable[[], web.StreamResponse]) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return answer()

    return handle


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A certificate of NAME for a receiver, and the trust in it."""
    folder: Path = tmp_path_factory.mktemp("tls")
    key, chain = folder / "key.pem", folder / "chain.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}"]
    names = ["-addext", f"subjectAltName=DNS:{NAME}", "-keyout", str(key), "-out", str(chain)]
    subprocess.run(["openssl", *words, *names], check=True, capture_output=True)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(chain, key)
    return served, ssl.create_default_context(cafile=str(chain))


# --- one request ------------------------------------------------------------------------------------------


@in_loop
async def test_a_message_arrives_as_it_was_made_and_the_answer_s_status_comes_back() -> None:
    got: list[tuple[str, dict[str, str], bytes]] = []

    async def handle(request: web.Request) -> web.Response:
        got.append((request.path_qs, dict(request.headers), await request.read()))
        return web.Response(status=202, text="thanks")

    async with receiver(handle) as port, messenger() as post:
        reply = await post.post(f"http://127.0.0.1:{port}/a?b=%20c", HEADERS, b'{"x":1}')
    assert reply == Reply(202)
    ((path, headers, body),) = got
    assert (path, body) == ("/a?b=%20c", b'{"x":1}')
    assert headers.items() >= {"webhook-id": "msg_1", "Content-Type": "application/json"}.items()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@in_loop
async def test_a_redirect_is_an_answer_and_is_not_followed(status: int) -> None:
    seen: list[web.Request] = []
    async with receiver(counting(seen, web.Response)) as inside:
        answer = partial(web.Response, status=status, headers={"Location": f"http://127.0.0.1:{inside}/"})
        async with receiver(counting([], answer)) as port, messenger() as post:
            assert await post.post(f"http://127.0.0.1:{port}/", HEADERS, b"{}") == Reply(status)
    assert seen == []


@in_loop
async def test_a_receiver_that_never_answers_costs_its_time_and_no_more() -> None:
    async def never(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async def drips(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b".")
            await asyncio.sleep(0.05)

    for handler in (never, drips):
        async with receiver(handler) as port, messenger(post_s=0.5) as post, asyncio.timeout(5):
            reply = await post.post(f"http://127.0.0.1:{port}/", HEADERS, b"{}")
        assert reply == Reply(None, "no answer in time")


@in_loop
async def test_of_an_answer_without_end_a_little_is_read() -> None:
    sent = 0

    async def floods(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 1 << 30:
            await response.write(bytes(64 * 1024))
            sent += 64 * 1024
        return response

    async with receiver(floods) as port, messenger() as post:
        assert await post.post(f"http://127.0.0.1:{port}/", HEADERS, b"{}") == Reply(200)
    assert sent < 32 << 20, "only what the buffers of both ends take"


@in_loop
async def test_a_compressed_answer_is_never_unpacked_not_even_to_find_it_broken() -> None:
    for body in (gzip.compress(bytes(256 << 20)), b"not gzip at all"):
        answer = partial(web.Response, body=body, headers={"Content-Encoding": "gzip"})
        async with receiver(counting([], answer)) as port, messenger() as post, asyncio.timeout(4):
            assert await post.post(f"http://127.0.0.1:{port}/", HEADERS, b"{}") == Reply(200)


@in_loop
async def test_a_failure_is_told_in_few_words_that_hold_nothing_of_the_url() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with messenger() as post:
            for url, error in (
                (f"http://127.0.0.1:{port}/?token=secret", "connection refused"),
                ("https://secret.invalid/", "the name is not known"),
                ("ftp://secret/", "not sent: the URL must be https://host/path"),
            ):
                reply = await post.post(url, HEADERS, b"{}")
                assert reply.status is None
                assert reply.error is not None
                assert reply.error.startswith(error)
                assert "secret" not in reply.error


@in_loop
async def test_no_cookie_and_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    seen: list[web.Request] = []
    answer = partial(web.Response, headers={"Set-Cookie": "a=b; Path=/"})
    async with receiver(counting(seen, answer)) as port, messenger(resolver=Names(["127.0.0.1"])) as post:
        for _ in range(2):
            assert await post.post(f"http://{NAME}:{port}/", HEADERS, b"{}") == Reply(200)
    assert [request.headers.get("Cookie") for request in seen] == [None, None]


# --- the guard --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], ["8.8.8.8", "127.0.0.1"]],
)
@in_loop
async def test_a_name_with_an_address_inside_is_not_called(
    addresses: list[str], certificate: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    served, trust = certificate
    seen: list[web.Request] = []
    async with receiver(counting(seen, web.Response), tls=served) as port:
        async with messenger(allow_private=False, resolver=Names(addresses), trust=trust) as post:
            reply = await post.post(f"https://{NAME}:{port}/", HEADERS, b"{}")
            assert reply == Reply(None, "not sent: the name leads to a private address")
        async with messenger(resolver=Names(["127.0.0.1"]), trust=trust) as post:
            assert await post.post(f"https://{NAME}:{port}/", HEADERS, b"{}") == Reply(200), "it was there to be called"
    assert len(seen) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f000001"])
@in_loop
async def test_an_address_inside_is_not_called_by_its_number(host: str) -> None:
    seen: list[web.Request] = []
    async with receiver(counting(seen, web.Response)) as port, messenger(allow_private=False) as post:
        reply = await post.post(f"https://{host}:{port}/", HEADERS, b"{}")
    assert reply.error is not None
    assert reply.error.startswith("not sent")
    assert seen == []


@in_loop
async def test_a_name_of_this_machine_is_not_called() -> None:
    async with receiver(counting([], web.Response)) as port, messenger(allow_private=False) as post:
        reply = await post.post(f"https://localhost:{port}/", HEADERS, b"{}")
    assert reply == Reply(None, "not sent: the name leads to a private address")


@in_loop
async def test_a_name_that_means_another_address_after_it_was_judged_gains_nothing(
    monkeypatch: pytest.MonkeyPatch, certificate: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """In this test's world 127.0.0.2 is the open internet, and 127.0.0.1 is inside."""
    monkeypatch.setattr("fillwright.adapters.outbound.is_open", lambda address: address == "127.0.0.2")
    served, trust = certificate
    outside: list[web.Request] = []
    inside: list[web.Request] = []
    names = Names(["127.0.0.2"], ["127.0.0.1"])
    options = {"allow_private": False, "resolver": names, "trust": trust}
    async with (
        receiver(counting(outside, web.Response), host="127.0.0.2", tls=served) as port,
        receiver(counting(inside, web.Response), port=port, tls=served),
    ):
        async with messenger(**options) as post:
            assert await post.post(f"https://{NAME}:{port}/", HEADERS, b"{}") == Reply(200)
        assert (len(outside), names.asked) == (1, 1), "judged and called by one answer"
        async with messenger(**options) as post:
            reply = await post.post(f"https://{NAME}:{port}/", HEADERS, b"{}")
        assert reply == Reply(None, "not sent: the name leads to a private address")
        assert (len(outside), inside) == (1, [])


@in_loop
async def test_a_certificate_that_nobody_vouches_for_or_of_another_name_is_refused(
    certificate: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    served, trust = certificate
    seen: list[web.Request] = []
    async with receiver(counting(seen, web.Response), tls=served) as port:
        for name, options in ((NAME, {}), ("other.example", {"trust": trust})):
            async with messenger(resolver=Names(["127.0.0.1"]), **options) as post:
                assert await post.post(f"https://{name}:{port}/", HEADERS, b"{}") == Reply(None, "TLS failed")
    assert seen == []
