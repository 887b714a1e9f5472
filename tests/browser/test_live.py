"""Where money is real the console says so, in red, on every page; and nowhere else."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from solders.keypair import Keypair

from tests.browser.conftest import Visit
from tests.browser.test_looks import AUDIT, AXE
from tests.processes.server import Server
from tests.servers.fleet import INHERITED

PAIR = Keypair()
WALLET = str(PAIR.pubkey())
RED = "rgb(179, 38, 30)"
ADDRESSES = ("/#/", "/#/orders", "/#/markets", "/#/operations", "/#/lab", "/#/nowhere")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A live engine on a localnet, both as processes."""
    command = [sys.executable, "-m", "fillwright.cli", "localnet", "--json", "--fund", f"{WALLET}=SOL:10"]
    with subprocess.Popen(command, env={**INHERITED, "PORT": "0"}, stdout=subprocess.PIPE) as chain:
        assert chain.stdout is not None
        url = json.loads(chain.stdout.readline())["url"]
        settings = {
            "FILLWRIGHT_CLUSTER": "localnet",
            "FILLWRIGHT_RPC": url,
            "FILLWRIGHT_RPC_WS": url.replace("http", "ws"),
            "FILLWRIGHT_WALLET_KEY": str(PAIR),
        }
        server = Server(tmp_path_factory.mktemp("live"), settings, options=("--live",))
        server.start()
        yield server
        server.stop()
        chain.terminate()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_names_the_chain_and_the_wallet_in_red(live: Server, visit: Visit, scheme: str) -> None:
    for address in ADDRESSES:
        page = visit(live, address, color_scheme=scheme, viewport={"width": 360, "height": 700})
        money = page.get_by_role("note", name="Real money")
        expect(money).to_contain_text("LOCALNET")
        expect(money).to_contain_text(WALLET)
        expect(money).to_have_css("background-color", RED)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, address
        page.evaluate(AXE)
        assert page.evaluate(AUDIT) == [], address


def test_there_is_no_fault_lab(live: Server, visit: Visit) -> None:
    page = visit(live)
    expect(page.get_by_role("note", name="Real money")).to_be_visible()
    expect(page.get_by_role("link", name="Fault lab")).to_be_hidden()


def test_a_simulation_is_not_called_real(instant: Server, visit: Visit) -> None:
    page = visit(instant)
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    expect(page.get_by_role("link", name="Fault lab")).to_be_visible()
    expect(page.get_by_role("note", name="Real money")).to_be_hidden()
