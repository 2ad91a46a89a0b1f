"""The page as a person sees it: a real browser, the real page server, a worker and a store that we play."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from pipeline.config import Listen
from pipeline.measures.cells import Series
from pipeline.measures.drilldown import Selection
from pipeline.measures.instruments import SHIPPED
from pipeline.page.server import application
from pipeline.page.watch import Sources
from tests.e2e import browser
from tests.e2e.browser import Tab
from tests.support.needs import need

ABOUT = {
    "windows": ["15m", "1h", "24h"],
    "touchpoints": {
        name: {"stage": "order", "target": 0.8}
        for name in ("checkout", "payment", "search", "small", "silent")
    },
    "instruments": {
        name: {"low": it.low, "high": it.high, "groups": [group._asdict() for group in it.groups]}
        for name, it in SHIPPED.items()
    },
}
SCHEME = "prefers-color-scheme"
MOTIONLESS = {"name": "prefers-reduced-motion", "value": "reduce"}
MINUS = "\u2212"
HEADLINE = "document.getElementById('lead').textContent"
STATE = "document.getElementById('state-text').textContent"
NAMES = "[...document.querySelectorAll('#table tbody tr')].map((row) => row.dataset.touchpoint).join()"
DETAIL = "#window=1h&touchpoint=payment&channel=app"
HERE = "document.getElementById('here').textContent"
KEPT = "[...document.querySelectorAll('#by-channel tbody tr')].map((row) => row.dataset.touchpoint).join()"
CHIPS = "[...document.querySelectorAll('.chip:not([hidden]) .chosen')].map((it) => it.textContent).join()"
FOCUSED = "document.activeElement.id || document.activeElement.textContent"


def score(touchpoint: str, value: float, lower: float, upper: float, n: int, **other: Any) -> dict[str, Any]:
    csat = {"metric": "csat", "instrument": "csat_1_5", "window": "1h", "channel": "", "segment": ""}
    numbers = {"value": value, "lower": lower, "upper": upper, "n": n}
    return {**csat, "touchpoint": touchpoint, **numbers, **other}


SCORES = [
    score("", 0.8, 0.78, 0.82, 1234),
    score("checkout", 0.93, 0.9, 0.95, 400),
    score("payment", 0.52, 0.45, 0.59, 214),
    score("search", 0.86, 0.8, 0.9, 180),
    score("small", 0.0, 0.0, 0.49, 4),  # low, but nobody can know it from four answers
    score("checkout", 0.91, 0.89, 0.93, 9000, window="24h"),
    score("", 41.4, 35.1, 47.7, 900, metric="nps", instrument="nps_0_10"),
    score("checkout", -12.2, -20.6, -3.8, 310, metric="nps", instrument="nps_0_10"),
    score("checkout", 5.64, 5.5, 5.78, 88, metric="ces", instrument="ces_1_7"),
    score("checkout", 1.0, None, None, 1, metric="ces", instrument="ces_1_5"),
    score("payment", 7500.0, 5400.0, 9000.0, 12, metric="resolution", instrument="first_resolution"),
]

PARTS = [
    score("payment", 0.3, 0.22, 0.4, 90, channel="app"),
    score("payment", 0.9, 0.8, 0.95, 124, channel="web"),
    score("payment", 0.5, 0.4, 0.6, 100, segment="new_customer"),
    score("payment", 0.54, 0.44, 0.64, 114, segment="none"),
    score("payment", 0.2, 0.1, 0.4, 40, channel="app", segment="new_customer"),
    score("payment", 0.38, 0.26, 0.52, 50, channel="app", segment="none"),
    score("payment", 0.71, 0.68, 0.74, 900, window="24h"),
]
CSAT = {"metric": "csat", "instrument": "csat_1_5"}
CLOCK = {"metric": "resolution", "instrument": "first_resolution"}
ANSWERS = {
    ("payment", "", ""): [
        {**CSAT, "counts": [[1, 60], [2, 20], [3, 23], [5, 111]]},
        {**CLOCK, "counts": [[80, 4], [103, 8]]},  # 16m to 17m, 1h 54m to 2h 05m
    ],
    ("payment", "app", ""): [{**CSAT, "counts": [[1, 63], [5, 27]]}],
    ("payment", "app", "new_customer"): [{**CSAT, "counts": [[1, 32], [5, 8]]}],
}


class Sides:
    """The worker and the store behind the page; a test changes what they answer."""

    def __init__(self) -> None:
        self.scores = list(SCORES)
        self.parts = list(PARTS)
        self.answers = dict(ANSWERS)
        self.ready = True
        self.partitions = 1
        self.away = False
        self.points: list[dict[str, Any]] = []

    async def worker(self, request: web.Request) -> web.Response:
        if self.away:
            raise web.HTTPServiceUnavailable
        said = {"partition": 0, "position": 1, "scores": self.scores}
        if "touchpoint" in request.query:
            chosen = Selection(*(request.query.get(name, "") for name in Selection._fields))
            said |= {"scores": self.around(chosen), "answers": self.answers.get(chosen[1:], [])}
        whole = {"at": "2026-03-01T12:00:00Z", "ready": self.ready, "of": self.partitions, "parts": [said]}
        return web.json_response(whole)

    def around(self, chosen: Selection) -> list[dict[str, Any]]:
        """As the real one: what stands around a selection in its window, and itself in every window."""
        every = [(Series(*(row[name] for name in Series._fields)), row) for row in self.scores + self.parts]
        return [
            row
            for series, row in every
            if chosen.is_itself(series) or (chosen.is_around(series) and row["window"] == chosen.window)
        ]

    async def store(self, _: web.Request) -> web.Response:
        return web.Response(text="".join(json.dumps(point) + "\n" for point in self.points))


@asynccontextmanager
async def listening(app: web.Application, port: int = 0) -> AsyncIterator[int]:
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.fixture
async def sides() -> Sides:
    return Sides()


@pytest.fixture
async def sources(sides: Sides) -> AsyncIterator[Sources]:
    app = web.Application()
    app.router.add_get("/scores", sides.worker)
    app.router.add_post("/", sides.store)
    async with listening(app) as port:
        yield Sources((Listen("127.0.0.1", port),), f"http://127.0.0.1:{port}/")


@pytest.fixture
async def address(sources: Sources) -> AsyncIterator[str]:
    async with listening(application(sources, ABOUT)) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Tab]:
    need(None if browser.path() else "no chromium on this machine: apt-get install chromium")
    async with browser.tab(tmp_path / "profile") as page:
        await page.size(1240, 900)
        yield page


def text(touchpoint: str, metric: str = "csat") -> str:
    return f"(document.querySelector('[data-touchpoint={touchpoint}] td.{metric}')?.innerText ?? '')"


async def test_scores_with_n_and_interval_the_most_troubled_on_top(tab: Tab, address: str) -> None:
    await tab.open(address)
    assert (
        await tab.until(f"{HEADLINE}.startsWith('Payment') && {HEADLINE}") == "Payment is below its target."
    )
    assert await tab.ask(STATE) == "live"
    # Beyond doubt below target first, then the lower CSAT, and who was not asked last.
    assert await tab.ask(NAMES) == "payment,small,search,checkout,silent"
    assert (await tab.ask(text("payment"))).split("\n") == ["52\u202f%", "45\u201359\u202f%", "n 214"]
    assert (await tab.ask(text("checkout", "nps"))).split("\n") == [
        f"{MINUS}12",
        f"{MINUS}21 to {MINUS}4",
        "n 310",
    ]
    assert (await tab.ask(text("payment", "resolution"))).split("\n") == [
        "2h\u202f05m",
        "1h\u202f30m to 2h\u202f30m",
        "n 12",
    ]
    assert await tab.ask("document.querySelectorAll('.flag:not([hidden])').length") == 1
    tiles = await tab.ask("document.getElementById('tiles').innerText")
    assert "80\u202f%" in tiles
    assert "n 1,234" in tiles
    assert "+41" in tiles


async def test_scales_are_never_mixed_in_one_number(tab: Tab, address: str) -> None:
    await tab.open(address)
    await tab.until(f"{STATE} === 'live' && {NAMES}")
    shown = (await tab.ask(text("checkout", "ces"))).split("\n")
    assert shown == ["1.0", "no interval yet", "n 1", "ces_1_5", "5.6", "5.5 to 5.8", "n 88", "ces_1_7"]


async def test_no_responses_is_said_and_never_zero(tab: Tab, address: str, sides: Sides) -> None:
    await tab.open(address)
    await tab.until(f"{NAMES}.includes('silent')")
    assert await tab.ask(text("silent")) == "no responses"
    assert await tab.ask(text("silent", "nps")) == "no responses"
    assert await tab.ask(text("silent", "resolution")) == "no cases"
    assert (await tab.ask(text("small"))).startswith("0\u202f%")  # four answers, none satisfied: a real zero
    sides.scores = [row for row in SCORES if row["touchpoint"] != "payment"]
    await tab.until(f"{text('payment')} === 'no responses'")
    assert await tab.until(f"{HEADLINE}.startsWith('No touchpoint') && {HEADLINE}")
    sides.scores = []
    assert (
        await tab.until(f"{HEADLINE}.startsWith('No resp') && {HEADLINE}") == "No responses in the last hour."
    )


async def test_a_change_arrives_by_itself_pulses_and_moves_its_row(
    tab: Tab, address: str, sides: Sides
) -> None:
    await tab.open(address)
    await tab.until(f"{NAMES} === 'payment,small,search,checkout,silent'")
    fallen = score("checkout", 0.31, 0.27, 0.35, 460)
    sides.scores = [row for row in SCORES if row["touchpoint"] != "checkout"] + [fallen]
    await tab.until(f"{NAMES} === 'checkout,payment,small,search,silent'")
    assert (await tab.ask(text("checkout"))).startswith("31\u202f%")
    assert await tab.ask("!!document.querySelector('[data-touchpoint=checkout] .csat .pulse')")
    assert await tab.ask("!document.querySelector('[data-touchpoint=payment] .pulse')")
    assert await tab.ask(HEADLINE) == "Checkout and payment are below their targets."


async def test_the_window_is_chosen_by_mouse_and_by_keys(tab: Tab, address: str) -> None:
    await tab.open(address)
    await tab.until(f"{text('checkout')}.startsWith('93')")
    assert await tab.ask("document.querySelector('#windows :checked').value") == "1h"
    await tab.ask("document.querySelector('#windows [value=\"24h\"]').click()")
    await tab.until(f"{text('checkout')}.startsWith('91')")
    assert await tab.ask(text("payment")) == "no responses"
    assert await tab.ask("location.hash") == "#window=24h"
    await tab.ask("document.querySelector('#windows [value=\"24h\"]').focus()")
    await tab.press("ArrowLeft", 37)
    await tab.until(f"{text('checkout')}.startsWith('93')")


async def test_a_line_of_the_last_day_with_gaps(tab: Tab, sides: Sides, address: str) -> None:
    now = int(await tab.ask("Math.floor(Date.now() / 1000)")) // 3600 * 3600
    csat = {"metric": "csat", "instrument": "csat_1_5", "touchpoint": "payment"}
    sides.points = [{**csat, "point": now - 3600 * ago, "value": 0.9 - 0.05 * ago} for ago in (0, 1, 4, 5, 6)]
    await tab.open(address)
    line = "document.querySelector('[data-touchpoint=payment] .csat .line')?.getAttribute('d')"
    drawn = await tab.until(f"{line} && {line}.length > 5 && {line}")
    assert drawn.count("M") == 2
    assert drawn.count("L") == 3


async def test_it_says_when_the_worker_is_away_or_catching_up(tab: Tab, address: str, sides: Sides) -> None:
    sides.ready = False
    await tab.open(address)
    await tab.until(f"{STATE} === 'catching up'")
    sides.away = True
    await tab.until(f"{STATE} === 'waiting for the worker'")
    assert (await tab.ask(text("payment"))).startswith("52")  # what is known stays readable
    sides.ready, sides.away, sides.partitions = True, False, 2
    await tab.until(f"{STATE} === 'a worker does not answer'")
    sides.partitions = 1
    await tab.until(f"{STATE} === 'live'")


async def test_it_connects_again_by_itself(tab: Tab, sources: Sources) -> None:
    async with listening(application(sources, ABOUT)) as port:
        await tab.open(f"http://127.0.0.1:{port}/")
        await tab.until(f"{STATE} === 'live'")
    await tab.until(f"{STATE} === 'reconnecting'")
    assert (await tab.ask(text("payment"))).startswith("52")
    async with listening(application(sources, ABOUT), port):
        await tab.until(f"{STATE} === 'live'")


async def test_a_page_that_nobody_sees_gives_its_connection_back(
    tab: Tab, address: str, sides: Sides
) -> None:
    for _ in range(8):  # a browser has six of them, and keeps pages that are left for "back"
        await anew(tab, address)
        await tab.until(f"{STATE} === 'live'")
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true})"
    await tab.ask(f"{hide % 'true'}; document.dispatchEvent(new Event('visibilitychange'))")
    async with ClientSession() as session, session.get(address + "events") as events, asyncio.timeout(10):
        sides.scores = []  # a stream of our own sees it; the page does not
        while b'"n":0' not in await events.content.readline():
            pass
    assert (await tab.ask(text("payment"))).startswith("52")
    await tab.ask(f"{hide % 'false'}; document.dispatchEvent(new Event('visibilitychange'))")
    await tab.until(f"{text('payment')} === 'no responses'")
    assert tab.problems == []


async def test_any_name_keeps_its_place(tab: Tab, address: str, sides: Sides) -> None:
    names = ["x" * 300, "a long name of words " * 9, "constructor", "__proto__", "<b>&amp;", "\u202etl"]
    sides.scores = [score("", 0.8, 0.7, 0.9, 1)] + [score(name, 0.5, 0.4, 0.6, 100) for name in names]
    rows = "[...document.querySelectorAll('#table tbody tr')]"
    await tab.open(address)
    await tab.until(f"{rows}.length === {len(names) + 5}")
    assert (await tab.ask("document.getElementById('rest').textContent")) == "1 response in the last hour."
    assert await tab.ask(HEADLINE) == "No touchpoint with a target was answered."
    for name in names:
        row = f"{rows}.find((row) => row.dataset.touchpoint === {json.dumps(name)})"
        assert await tab.ask(f"{row}.querySelector('.stage').textContent") == "not in the configuration"
        await tab.ask(f"{row}.querySelector('a').click()")
        await tab.until("!document.getElementById('detail').hidden")
        shown = name.replace("_", " ")
        assert await tab.ask(HERE) == shown[0].upper() + shown[1:]
        assert await tab.ask("document.documentElement.scrollWidth <= innerWidth")
        await tab.press("Escape", 27)
        await tab.until("!document.getElementById('board').hidden")
        assert await tab.ask("document.documentElement.scrollWidth <= innerWidth")
    assert tab.problems == []


async def anew(tab: Tab, url: str) -> None:
    """Opens it as a page of its own: another fragment of the same page would not load anything."""
    await tab.open("about:blank")
    await tab.open(url)


def rows_of(part: str) -> str:
    return KEPT.replace("by-channel", part)


def bars(metric: str) -> str:
    """What a screen reader reads of the distribution of answers."""
    return f"[...document.querySelectorAll('#cards .{metric} .answers .unseen')].map((it) => it.textContent)"


async def test_from_a_touchpoint_to_its_channels_and_segments(tab: Tab, address: str) -> None:
    await tab.open(address)
    await tab.until(f"{NAMES}.startsWith('payment')")
    await tab.ask("document.querySelector('[data-touchpoint=payment] a').click()")
    await tab.until(f"{HERE} === 'Payment'")
    assert await tab.ask(HEADLINE) == "Payment: below target."
    figures = await tab.ask("document.getElementById('rest').textContent")
    assert figures == (
        "52\u202f% satisfied (45\u201359\u202f%), target 80\u202f%, 214 responses in the last hour. "
        "Below target: channel app, segment new customer, segment none."
    )
    assert await tab.ask(rows_of("by-channel")) == "app,web"  # the troubled one on top
    assert await tab.ask(rows_of("by-segment")) == "new_customer,none"
    assert await tab.ask(rows_of("by-window")) == "1h,24h"
    heads = "[...document.querySelectorAll('#by-{} thead th:not([hidden])')].map((it) => it.firstChild.data).join()"
    assert await tab.ask(heads.format("channel")) == "Channel,CSAT"  # a metric that nobody has takes no room
    assert await tab.ask(heads.format("window")) == "Window,CSAT,Resolution"
    assert await tab.ask(bars("csat")) == [
        "1: 60, 28\u202f%",
        "2: 20, 9\u202f%",
        "3: 23, 11\u202f%",
        "4: 0, 0\u202f%",
        "5: 111, 52\u202f%",
    ]
    assert "satisfied 52\u202f%, dissatisfied 48\u202f%" in await tab.ask(
        "document.querySelector('#cards .csat').innerText"
    )
    cases = await tab.ask(bars("resolution"))
    assert [said for said in cases if ": 0" not in said] == [
        "\u22641h: 4, 33\u202f%",
        "\u22644h: 8, 67\u202f%",
    ]
    await tab.ask("document.querySelector('#by-channel [data-touchpoint=app] a').click()")
    await tab.until(f"{CHIPS} === 'app' && {rows_of('by-segment')} === 'new_customer,none'")
    assert await tab.until(f"{HEADLINE}.includes('app') && {HEADLINE}") == "Payment, app: below target."
    assert (await tab.ask("document.querySelector('#by-segment td.csat').innerText")).startswith("20\u202f%")
    assert await tab.ask(rows_of("by-channel")) == "app,web"  # the others stay in sight
    await tab.ask("document.querySelector('#by-segment a').click()")
    await tab.until(f"{CHIPS} === 'app,new customer' && {bars('csat')}[0] === '1: 32, 80\u202f%'")
    assert tab.problems == []


async def test_what_is_shown_stands_in_the_url(tab: Tab, address: str) -> None:
    deep = "#window=1h&touchpoint=payment&channel=app&segment=new_customer"
    await tab.open(address + deep)
    await tab.until(f"{HERE} === 'Payment' && {CHIPS} === 'app,new customer'")
    assert await tab.ask("document.activeElement === document.body")  # a page that opens takes no focus
    await tab.ask("document.querySelector('#chip-segment').click()")
    await tab.until(f"{CHIPS} === 'app' && location.hash === '#window=1h&touchpoint=payment&channel=app'")
    await tab.ask("document.querySelector('#windows [value=\"24h\"]').click()")
    await tab.until(f"{HEADLINE}.includes('no responses in the last 24 hours')")
    await tab.ask("history.back()")
    await tab.until(f"location.hash === '{deep}' && {CHIPS} === 'app,new customer'")
    assert await tab.ask("document.querySelector('#windows :checked').value") == "1h"
    await anew(tab, address + "#24h")  # as the page once wrote it
    await tab.until(f"{text('checkout')}.startsWith('91')")


async def test_in_and_out_by_keys_alone(tab: Tab, address: str) -> None:
    await tab.open(address)
    await tab.until(f"{NAMES}.startsWith('payment')")
    await tab.ask("document.querySelector('[data-touchpoint=search] a').focus()")
    await tab.press("Enter", 13)
    await tab.until(f"{HERE} === 'Search' && {FOCUSED} === 'here'")
    await tab.press("Escape", 27)
    await tab.until(f"{FOCUSED} === 'search' && location.hash === '#window=1h'")
    await anew(tab, address + "#window=1h&touchpoint=payment&channel=app&segment=new_customer")
    for left in ("app", ""):
        await tab.until(f"{CHIPS} !== '{left}' && {HERE} === 'Payment'")
        await tab.press("Escape", 27)
        await tab.until(f"{CHIPS} === '{left}'")
    await tab.press("Escape", 27)
    await tab.until("!document.getElementById('board').hidden")
    assert await tab.ask(FOCUSED) == "payment"  # also where the page was opened at the detail
    await tab.ask("document.getElementById('together').focus()")
    await tab.press("Enter", 13)
    await tab.until(f"{HERE} === 'All touchpoints together'")


async def test_a_detail_follows_the_stream_and_outlives_an_outage(
    tab: Tab, address: str, sides: Sides
) -> None:
    await tab.open(address + "#window=1h&touchpoint=payment")
    await tab.until(f"{bars('csat')}[0] === '1: 60, 28\u202f%'")
    sides.away = True
    await tab.until(f"{STATE} === 'waiting for the worker'")
    assert (await tab.ask(bars("csat")))[0] == "1: 60, 28\u202f%"
    sides.away = False
    sides.answers["payment", "", ""] = [{**CSAT, "counts": [[1, 61], [5, 111]]}]
    await tab.until(f"{bars('csat')}[0] === '1: 61, 35\u202f%'")
    await anew(tab, address + "#window=1h&touchpoint=silent")
    await tab.until(f"{HEADLINE} === 'Silent: no responses in the last hour.'")
    assert await tab.ask("!document.getElementById('silent').hidden")


async def test_one_question_to_the_worker_serves_all_who_ask_the_same(address: str, sides: Sides) -> None:
    async with ClientSession() as session:
        ask = {"window": "1h", "touchpoint": "payment"}
        first = await (await session.get(address + "detail", params=ask)).json()
        sides.answers, sides.away = {}, True
        for more in ({}, {"channel": ""}, {"unknown": "x"}):
            assert await (await session.get(address + "detail", params=ask | more)).json() == first
        other = await session.get(address + "detail", params=ask | {"channel": "web"})
        assert other.status == 503


async def test_nothing_comes_from_elsewhere_and_nothing_is_refused(tab: Tab, address: str) -> None:
    await tab.open(address)
    await tab.until(f"{STATE} === 'live'")
    assert tab.problems == []
    assert {url for url in tab.requests if not url.startswith(address)} == set()


@pytest.mark.parametrize("shown", ["", DETAIL], ids=["board", "detail"])
@pytest.mark.parametrize("width", [390, 700, 1240, 1920])
async def test_it_fits_every_width(tab: Tab, address: str, width: int, shown: str) -> None:
    await tab.size(width, 844)
    await tab.open(address + shown)
    await tab.until(f"{STATE} === 'live' && {KEPT if shown else NAMES}")
    assert await tab.ask("document.documentElement.scrollWidth <= innerWidth")
    cut = (
        "[...document.querySelectorAll('header *, .tile *, .crumbs *, tbody *, .headline p')].filter((it) => "
        "it.getBoundingClientRect().right > innerWidth + 1).map((it) => it.textContent).join()"
    )
    assert await tab.ask(cut) == ""


async def test_dark_and_light(tab: Tab, address: str) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    found = {}
    for theme in ("light", "dark"):
        await tab.theme(theme)
        await tab.open(address)
        await tab.until(f"{STATE} === 'live'")
        found[theme] = sum(map(int, (await tab.ask(paper))[4:-1].split(",")))
    assert found["light"] > 700
    assert found["dark"] < 100


# Texts whose contrast to what is behind them is below WCAG AA, with the ratio.
PALE = """
(() => {
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = parts(color).map((c) => ((c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    const color = getComputedStyle(node).backgroundColor;
    return (parts(color)[3] ?? 1) > 0.99 ? color : behind(node.parentElement);
  };
  const texts = [...document.querySelectorAll("body *")].filter(
    (node) => node.checkVisibility() && [...node.childNodes].some((it) => it.nodeType === 3 && it.data.trim()),
  );
  return texts.flatMap((node) => {
    const [a, b] = [light(getComputedStyle(node).color), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    return ratio < 4.5 ? [`${node.textContent.trim()}: ${ratio.toFixed(2)}`] : [];
  });
})()
"""


@pytest.mark.parametrize("shown", ["", DETAIL], ids=["board", "detail"])
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_every_text_can_be_read(tab: Tab, address: str, theme: str, shown: str) -> None:
    await tab.call("Emulation.setEmulatedMedia", features=[MOTIONLESS, {"name": SCHEME, "value": theme}])
    await tab.open(address + shown)
    await tab.until(f"{STATE} === 'live' && {KEPT if shown else NAMES}")
    assert await tab.ask(PALE) == []


@pytest.mark.parametrize("width", [390, 1240])
async def test_a_screen_reader_finds_a_table_and_is_not_flooded(tab: Tab, address: str, width: int) -> None:
    await tab.size(width, 844)
    await tab.open(address)
    await tab.until(f"{STATE} === 'live' && {NAMES}")
    nodes = (await tab.call("Accessibility.getFullAXTree"))["nodes"]
    roles = [node["role"]["value"] for node in nodes if not node["ignored"]]
    assert roles.count("table") == 1
    assert roles.count("columnheader") == 5
    assert roles.count("rowheader") == 5
    assert roles.count("cell") == 5 * 4
    assert roles.count("radio") == 3
    # Only the sentence and the state are announced; figures change every second and are not.
    live = "[...document.querySelectorAll('[aria-live], [role=status]')].map((it) => it.id).join()"
    assert await tab.ask(live) == "state,lead"
    assert not any(letter.isdigit() for letter in await tab.ask(HEADLINE))


@pytest.mark.parametrize("width", [390, 1240])
async def test_a_screen_reader_finds_the_parts_of_a_detail(tab: Tab, address: str, width: int) -> None:
    await tab.size(width, 844)
    await tab.open(address + DETAIL)
    await tab.until(f"{STATE} === 'live' && {KEPT}")
    nodes = [n for n in (await tab.call("Accessibility.getFullAXTree"))["nodes"] if not n["ignored"]]
    found = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
    assert [name for role, name in found if role == "table"] == ["By channel", "By segment", "By window"]
    assert ("navigation", "Where you are") in found
    assert ("link", "Show all channels, not only app") in [(role, name.rstrip()) for role, name in found]
    assert ("list", "Answers, CSAT csat_1_5") in found
    assert [role for role, _ in found].count("listitem") == 5
    current = "[...document.querySelectorAll('[aria-current]')].map((it) => it.textContent).join()"
    assert await tab.ask(current) == "Payment,app,1h"
    live = "[...document.querySelectorAll('[aria-live], [role=status]')].map((it) => it.id).join()"
    assert await tab.ask(live) == "state,lead"
    assert not any(letter.isdigit() for letter in await tab.ask(HEADLINE))


async def test_headers_forbid_what_the_page_does_not_need(address: str) -> None:
    async with ClientSession() as session:
        for path in ("", "static/page.js", "static/page.css", "detail?touchpoint=x", "events", "nowhere"):
            async with session.get(address + path) as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert "http" not in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
