"""The front door, probes, and the page of each problem."""

import gzip
import html
import re
from pathlib import Path

import pytest

from fillwright.api.problems import KINDS
from fillwright.errors import RETRYABLE, Code
from tests.api.running import SELL, run, serving

SCRIPTS_MAX = 60_000
"""Bytes of all scripts together, compressed."""
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_every_code_has_its_status_and_title() -> None:
    assert set(KINDS) == set(Code)
    assert all(400 <= kind.status < 600 and kind.title for kind in KINDS.values())
    assert len({kind.title for kind in KINDS.values()}) == len(KINDS)
    assert all(code in RETRYABLE for code, kind in KINDS.items() if kind.status == 503)


def test_every_problem_has_its_page(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            for code, kind in KINDS.items():
                told = (await server.get(f"/problems/{code}")).json
                assert (told["code"], told["status"], told["title"]) == (code, kind.status, kind.title)
                page = await server.get(f"/problems/{code}", headers=BROWSER)
                assert kind.title in html.unescape(page.body.decode())
            assert (await server.get("/problems/NOPE")).status == 404

    run(script())


def test_the_front_door_knows_a_browser(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            plain = await server.get("/")
            assert plain.json == {"status": "ok", "service": "Order Execution Engine"}
            page = await server.get("/", headers=BROWSER)
            assert page.headers["Content-Type"] == "text/html; charset=utf-8"
            policy = page.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
            assert "unsafe" not in policy
            assert page.headers["X-Content-Type-Options"] == "nosniff"
            for path in ("/test", "/order-tester.html"):
                moved = await server.get(path)
                assert (moved.status, moved.headers["Location"]) == (302, "/")

    run(script())


def test_the_page_holds_to_its_policy(tmp_path: Path) -> None:
    """Nothing inline, nothing from elsewhere, and every file that a module imports is served."""

    async def script() -> None:
        async with serving(tmp_path) as server:
            page = (await server.get("/", headers=BROWSER)).body.decode()
            assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|https?:|//", page)
            waiting = set(re.findall(r'(?:src|href)="(/[^"]+)"', page))
            scripts = {}
            while waiting:
                path = waiting.pop()
                asset = await server.get(path)
                assert asset.status == 200, path
                text = asset.body.decode()
                assert set(re.findall(r"https?://[^\s\"'`)$]+", text)) <= {"http://www.w3.org/2000/svg"}, path
                if path.endswith(".js"):
                    scripts[path] = asset.body
                    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text), path
                    imported = {f"/console/{name}" for name in re.findall(r'from "\./([a-z]+\.js)"', text)}
                    waiting |= imported - scripts.keys()
            assert len(scripts) > 5
            assert sum(len(gzip.compress(each)) for each in scripts.values()) <= SCRIPTS_MAX

    run(script())


def test_a_browser_that_has_a_file_is_not_sent_it_again(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            first = await server.get("/console/console.css")
            again = await server.get("/console/console.css", headers={"If-None-Match": first.headers["ETag"]})
            assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
            other = await server.get("/console/console.js", headers={"If-None-Match": first.headers["ETag"]})
            assert other.status == 200
            assert (await server.get("/console/index.html")).status == 404

    run(script())


def test_probes_and_metrics(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            order_id = (await server.post("/v1/orders", SELL)).json["orderId"]
            await server.ended(order_id)
            for path in ("/livez", "/readyz", "/startupz", "/health", "/api/health"):
                assert (await server.get(path)).json["status"] == "ok"
            metrics = await server.get("/metrics")
            assert metrics.headers["Content-Type"].startswith("text/plain; version=")
            assert b'fillwright_events_total{event="landed"} 1.0' in metrics.body

    run(script())


def test_unknown_addresses_and_methods_are_problems(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            for method, path, status, code in (
                ("GET", "/nope", 404, "REQUEST_NOT_FOUND"),
                ("GET", "/v1/", 404, "REQUEST_NOT_FOUND"),
                ("GET", "/%00", 404, "REQUEST_NOT_FOUND"),
                ("GET", "/../../etc/passwd", 404, "REQUEST_NOT_FOUND"),
                ("PUT", "/v1/orders", 405, "REQUEST_METHOD_NOT_ALLOWED"),
                ("POST", "/livez", 405, "REQUEST_METHOD_NOT_ALLOWED"),
            ):
                answer = await server.send(method, path)
                assert (answer.status, answer.json["code"]) == (status, code)
                assert answer.headers["Content-Type"] == "application/problem+json"
                assert answer.json["type"] == f"/problems/{code}"
                assert ("Allow" in answer.headers) == (status == 405)

    run(script())


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://[::1", "", "://"])
def test_another_sites_page_changes_nothing(tmp_path: Path, origin: str) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            for path in ("/v1/orders", "/api/orders/execute"):
                answer = await server.post(path, SELL, headers={"Origin": origin})
                assert (answer.status, answer.json["code"]) == (403, "REQUEST_ORIGIN_REFUSED")
            assert server.rows() == 0
            assert (await server.get("/v1/orders", headers={"Origin": origin})).status == 200
            own = await server.post("/v1/orders", SELL, headers={"Origin": f"http://127.0.0.1:{server.port}"})
            assert own.status == 201

    run(script())


def test_an_unexpected_failure_tells_nothing_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server:
            secret = "postgres://user:hunter2@db"

            async def broken(*_: object) -> None:
                raise RuntimeError(secret)

            monkeypatch.setattr(server.engine, "get", broken)
            answer = await server.get("/v1/orders/01890000-0000-7000-8000-000000000000")
            assert (answer.status, answer.json["code"]) == (500, "ENGINE_INTERNAL")
            assert "hunter2" not in answer.body.decode()
            (record,) = [each for each in caplog.records if each.name == "fillwright.api"]
            assert record.__dict__["fields"]["requestId"] == answer.json["requestId"]

    run(script())
