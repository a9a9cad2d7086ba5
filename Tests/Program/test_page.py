"""The page at `/` in a real browser: its figures, how it keeps itself up to date, and what it must never do."""

import html
import json
import math
import re
import time
import urllib.parse

import pytest

from browser import Browser
from ledgers import Ledger
from support import eventually

PLANS = """
timezone: Europe/Berlin
storage: { flush_interval: 1s }
quotas:
  - { name: home, limit: 100 GB, warn_at: [10%], price: { currency: EUR, base: 29.90, per_gb: 0.02 } }
  - { name: "<b>guests</b>", count: [wan0], limit: 1 kB }
"""


@pytest.fixture
def shown(cable, exporter, tmp_path):
    """A daemon with a history of 40 days."""
    near, _ = cable
    ledger = Ledger(near, tmp_path, PLANS)
    now = int(time.time())
    accounts = [ledger.account("", "uplink"), ledger.account("wan0")]
    for start in range(now // 300 * 300 - 40 * 86400, now // 300 * 300, 300):
        for account in accounts:
            ledger.bucket(account, start, int(2e6 * (2 + math.sin(start / 9000))), start % 90001)
    ledger.close(until=now)
    return exporter(near, f"--config.file={ledger.configuration}", ledger=ledger.path)


@pytest.fixture
def browser(tmp_path):
    opened = []

    def open_(daemon, path="/", **options):
        directory = tmp_path / f"browser-{len(opened)}"
        directory.mkdir()
        opened.append(Browser(daemon.namespace, directory, **options))
        opened[-1].open(f"http://127.0.0.1:{daemon.port}{path}")
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


def ask(daemon, path):
    return json.loads(daemon.get(f"/api/v1/{path}").body)


def account(report, name):
    return next(each for each in report["accounts"] if each["name"] == name)


# Every figure of the page, by the titles of its section, its quota and its row.
FIGURES = """Object.fromEntries([...document.querySelectorAll("data")].map(each => {
    const section = each.closest("section,.tile"), row = each.closest("tr,.quota,dl div,.tile");
    const title = row.querySelector("td,dt,h3,h2")?.firstChild.textContent ?? "";
    const quota = each.closest(".quota")?.querySelector("h3").firstChild.textContent ?? "";
    const place = [...row.querySelectorAll("data")].indexOf(each);
    return [[section.querySelector("h2")?.firstChild.textContent, quota.trim(), title.trim(), place].join("|"), Number(each.value)];
}))"""


@pytest.mark.parametrize("javascript", [True, False])
def test_every_figure_is_that_of_the_api(shown, browser, javascript):
    page = browser(shown, javascript=javascript)
    figures = page.ask(FIGURES)
    for title, period in (("Today", "day"), ("This month", "month"), ("In all", "all")):
        uplink = account(ask(shown, f"usage?period={period}"), "uplink")
        assert [figures[f"{title}||{title}|{place}"] for place in range(3)] == [
            uplink["total_bytes"], uplink["received_bytes"], uplink["transmitted_bytes"]]
    days = account(ask(shown, "usage?grain=day&last=31&device=uplink"), "uplink")["entries"]
    assert len(days) == 31
    for entry in days:
        assert [figures[f"Last 31 days||{entry['start'][:10]}|{place}"] for place in range(3)] == [
            entry["received_bytes"], entry["transmitted_bytes"], entry["total_bytes"]]
    for quota in ask(shown, "quotas")["quotas"]:
        name = quota["name"]
        assert (figures[f"Quotas|{name}|Used|0"], figures[f"Quotas|{name}|Used|1"]) == (quota["used_bytes"], quota["limit_bytes"])
        assert figures[f"Quotas|{name}|Left|0"] == quota["left_bytes"]
    assert page.ask("document.querySelectorAll('svg title').length") >= 31
    bars = page.ask("[...document.querySelectorAll('[data-part=days] svg rect.received')].map(each => +each.getAttribute('height'))")
    highest = max(entry["received_bytes"] for entry in days)
    for bar, entry in zip(bars, days):
        assert bar / max(bars) == pytest.approx(entry["received_bytes"] / highest, abs=0.002)
    curve = page.ask("document.querySelector('[data-part=hours] path.curve.received').getAttribute('d')")
    assert curve.count("H") == len(account(ask(shown, "usage?grain=5m&last=288&device=uplink"), "uplink")["entries"])
    cost = next(quota["cost"] for quota in ask(shown, "quotas")["quotas"] if quota["name"] == "home")
    assert f"{cost['amount']} {cost['currency']}" in page.ask("document.body.textContent")
    assert page.ask("document.getElementById('live').textContent") in (("live", "as it was") if javascript else ("as it was",))


def test_it_goes_on_by_itself_asks_nobody_else_and_complains_of_nothing(shown, browser):
    near = shown.namespace
    page = browser(shown)
    today = "Number(document.querySelector('[data-account=\"uplink:uplink\"][data-field=today]').value)"
    eventually(lambda: page.ask("document.getElementById('live').textContent") == "live")
    before = page.ask(today)
    sent = near.send("10.0.0.2", 500)
    # The browser itself sends packets, too, so the total may be larger.
    eventually(lambda: page.ask(today) >= before + sent)
    eventually(lambda: page.ask(today) == account(ask(shown, "usage"), "uplink")["total_bytes"])
    eventually(lambda: page.ask("document.querySelector('[data-field=transmit-peak]').textContent") != "0 B/s")
    assert page.ask("document.querySelector('svg[data-spark=transmit] polyline').getAttribute('points')").count(",") > 1
    # The page loads the parts that the server draws again. A part that didn't change stays the same element, so that nothing flickers.
    month = "Number(document.querySelector('[data-part=month] data').value)"
    page.ask("document.querySelector('details').open = true")
    page.ask("document.dispatchEvent(new Event('visibilitychange'))")
    eventually(lambda: page.ask(month) == account(ask(shown, "usage?period=month"), "uplink")["total_bytes"])
    assert page.ask("document.querySelector('details').open"), "what was opened stays open"
    now = "document.querySelector(`[data-part=\"${each.dataset.part}\"]`)"

    def is_something_kept():
        page.ask("window.kept = [...document.querySelectorAll('[data-part]')].map(each => [each, each.outerHTML])")
        page.ask("document.dispatchEvent(new Event('visibilitychange'))")
        time.sleep(1)
        assert page.ask(f"window.kept.every(([each, html]) => each === {now} || html !== {now}.outerHTML)")
        return page.ask(f"window.kept.filter(([each]) => each === {now}).length") > 0
    eventually(is_something_kept, 30)
    near.ip("link", "set", "wan0", "down")
    eventually(lambda: page.ask("document.getElementById('online').textContent") == "offline")
    origin = f"http://127.0.0.1:{shown.port}/"
    assert page.requests and all(url.startswith(origin) for url in page.requests), page.requests
    assert page.complaints == [] and page.failures == []
    assert page.ask("performance.getEntriesByType('resource').every(each => each.name.startsWith(location.origin))")
    shown.stop()
    eventually(lambda: "connection lost" in page.ask("document.getElementById('live').textContent"))


# The contrast of every text with its background, the lowest first (WCAG 2.2, 1.4.3).
CONTRAST = """(() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const colour = text => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
                             return [...canvas.getImageData(0, 0, 1, 1).data]; };
    const light = rgb => rgb.slice(0, 3).map(each => each / 255).map(each => each <= .04045 ? each / 12.92 : ((each + .055) / 1.055) ** 2.4)
                            .reduce((sum, each, place) => sum + each * [.2126, .7152, .0722][place], 0);
    const behind = element => { for (let each = element; each; each = each.parentElement) {
        const found = colour(getComputedStyle(each).backgroundColor); if (found[3] === 255) return found; } return [255, 255, 255, 255]; };
    return [...document.body.querySelectorAll("*:not(script):not(svg *)")]
        .filter(each => [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
        .map(each => { const [one, other] = [light(colour(getComputedStyle(each).color)), light(behind(each))];
                       return [(Math.max(one, other) + .05) / (Math.min(one, other) + .05), each.textContent.slice(0, 30)]; })
        .sort((one, other) => one[0] - other[0]).slice(0, 3);
})()"""


@pytest.mark.parametrize("width", [1200, 700, 390, 320])
@pytest.mark.parametrize("dark", [False, True])
def test_it_is_readable_in_both_themes_and_on_a_phone(shown, browser, width, dark):
    page = browser(shown, width=width, height=800, dark=dark)
    background = page.ask("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(16, 19, 22)" if dark else "rgb(246, 247, 249)")
    lowest = page.ask(CONTRAST)
    assert lowest[0][0] >= 4.5, lowest
    assert page.ask("document.documentElement.scrollWidth") <= width, "nothing sticks out"
    overlaps = page.ask("""[...document.querySelectorAll('.tile')].filter(each => each.scrollWidth > each.clientWidth + 1)
                           .map(each => each.textContent)""")
    assert overlaps == [], overlaps


def test_it_can_be_used_by_keyboard_and_by_ear(shown, browser):
    page = browser(shown)
    nodes = page.accessibility()
    assert [name for role, name in nodes if role == "heading"][:4] == ["netusage on " + page.ask("document.title").split(" on ")[1],
                                                                        "Receiving", "Transmitting", "Today"]
    pictures = [name for role, name in nodes if role in ("image", "img", "graphics-document")]
    assert len(pictures) >= 4 and all(pictures), nodes
    assert all(name for role, name in nodes if role in ("link", "button", "table", "region", "columnheader")), nodes
    assert page.ask("document.documentElement.lang") == "en"
    seen = []
    while True:
        page.press("Tab", 9)
        if page.ask("document.activeElement === document.body"):
            break
        seen.append(page.ask("document.activeElement.tagName + ' ' + document.activeElement.textContent.slice(0, 12)"))
        assert page.ask("getComputedStyle(document.activeElement).outlineStyle") != "none", seen
    assert {"A uplink", "A wan0", "SUMMARY Figures", "A Metrics"} <= set(seen)


def test_a_device_has_its_own_page(shown, browser):
    sent = shown.namespace.send("10.0.0.2", 100)
    page = browser(shown, "/?device=wan0")
    eventually(lambda: page.ask("document.querySelector('.tile data[data-field=today-transmitted]')?.value")
               == str(account(ask(shown, "usage"), "wan0")["transmitted_bytes"]))
    assert page.ask("document.querySelector('nav [aria-current]').textContent") == "wan0" and sent
    missing = shown.get("/?device=eth%3Cscript%3E")
    assert missing.status == 200 and b"Nothing called eth&lt;script&gt; was metered" in missing.body


def test_names_that_mean_no_good_are_only_names(cable, exporter, browser, tmp_path):
    near, _ = cable
    for number, name in enumerate(("<b>&x", "a\"b'c", "é€")):
        near.bridge(name, number + 1)
        near.send(f"10.{number + 1}.0.9", 10)
    (tmp_path / "netusage.yaml").write_text(PLANS)
    daemon = exporter(near, f"--config.file={tmp_path}/netusage.yaml")
    page = browser(daemon)
    links = page.ask("[...document.querySelectorAll('nav a')].map(each => [each.textContent, each.href])")
    assert {"<b>&x", "a\"b'c", "é€"} <= {text for text, _ in links}
    assert page.ask("document.querySelectorAll('b').length") == 0
    eventually(lambda: page.ask("document.getElementById('live').textContent") == "live")
    sent = near.send("10.1.0.9", 50)
    cell = "Number([...document.querySelectorAll('tr')].find(each => each.textContent.startsWith('<b>')).querySelector('data').value)"
    eventually(lambda: page.ask(cell) >= sent)
    for text, address in links:
        page.open(address)
        assert page.ask("document.querySelector('nav [aria-current]').textContent") == text
    assert page.complaints == []


def test_it_is_small_however_much_there_is(namespaces, exporter, tmp_path):
    near = namespaces()
    batch = tmp_path / "links"
    batch.write_text("".join(f"link add device{number:05} type bridge\n" for number in range(1000)))
    near.ip("-batch", str(batch))
    quotas = "".join(f"  - {{ name: quota-{number}, count: [device{number:05}], limit: 1 GB }}\n" for number in range(100))
    (tmp_path / "netusage.yaml").write_text(f"quotas:\n{quotas}")
    daemon = exporter(near, f"--config.file={tmp_path}/netusage.yaml")
    answer = daemon.get("/")
    assert answer.status == 200 and len(answer.body) < 60_000
    assert b"and 976 more: see netusage month" in answer.body and b"and 88 more: see netusage quota" in answer.body


def test_its_links_work_below_a_prefix(shown):
    """A proxy may show the page as https://host/net/. All its links must lead below that prefix, to something that exists."""
    place = "https://host/net"
    for path in ("/", "/?device=wan0"):
        page = shown.get(path).body.decode()
        links = re.findall(r'\b(?:href|src|action)\s*=\s*"([^"]*)"', page)
        asked = re.findall(r'\b(?:EventSource|fetch|open)\(\s*["\'`]([^"\'`]*)', page)
        assert len(links) > 6 and "api/v1/live" in asked
        for link in [each for each in links if not each.startswith("data:")] + asked:
            address = urllib.parse.urljoin(f"{place}{path}", html.unescape(link))
            assert address.startswith(f"{place}/"), link
            assert shown.get(address.removeprefix(place)).status == 200, link
        assert not re.search(r"\burl\(|location\s*=", page)


def test_a_page_under_a_foreign_name_gets_nothing(shown):
    for host in ("evil.example", "evil.example:10073", "127.0.0.1.evil.example"):
        answer = shown.get("/", headers={"Host": host})
        assert answer.status == 403 and b"wan0" not in answer.body and b"<html" not in answer.body
    policy = shown.get("/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert policy != shown.get("/").headers["Content-Security-Policy"], "what is allowed to run is another each time"
