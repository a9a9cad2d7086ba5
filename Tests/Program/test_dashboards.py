"""Grafana's dashboards: they are well formed, every panel has data, and the bars are right at local midnight."""

import contextlib
import datetime
import html
import json
import random
import re
import sqlite3
import sys
import time
import zoneinfo

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

import preview
from dashboards import PATHS, Filled, load
from history import History
from household import Household
from servers import DEPLOY, Prometheus, shipped
from support import ROOT, Namespace, eventually, run

DAY = 86400
RULES = sorted((DEPLOY / "prometheus").glob("*.rules.yml"))

# Queries that may have no result, and why.
SILENT = {
    ("Uplink over time", "offline"): "it is offline at no time",
    ("Quotas", "Limit reached"): "there only while the limit is expected to be reached",
}

each_dashboard = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def panels(path):
    return load(path)["panels"]


def test_the_dashboards_are_what_their_source_makes(tmp_path):
    run(sys.executable, ROOT / "grafana" / "source" / "build.py", tmp_path)
    assert [path.name for path in PATHS] == sorted(path.name for path in tmp_path.iterdir())
    for path in PATHS:
        assert path.read_text() == (tmp_path / path.name).read_text(), f"{path.name}: run `make dashboards`"


@each_dashboard
def test_grafanas_own_models_know_every_field(path):
    register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(load(path)), cls=JSONEncoder))

    def missing(shown, known, place):
        if isinstance(shown, dict):
            for key, value in shown.items():
                if key not in known:
                    yield f"{place}.{key}"
                else:
                    yield from missing(value, known[key], f"{place}.{key}")
        elif isinstance(shown, list):
            for number, value in enumerate(shown):
                yield from missing(value, known[number], f"{place}[{number}]")
        elif shown != known:
            yield f"{place}: {shown} became {known}"

    assert list(missing(load(path), again, path.stem)) == []


@each_dashboard
def test_a_dashboard_keeps_the_rules(path):
    dashboard = load(path)
    assert dashboard["uid"] == path.stem and 39 <= dashboard["schemaVersion"] <= 41 and dashboard["editable"] is False
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}
    assert list(variables)[:3] == ["datasource", "job", "instance"] and {"quota", "application"} & set(variables)
    text = json.dumps([each for each in dashboard["panels"]] + [each.get("query") for each in variables.values()])
    for name in variables:
        assert f"${name}" in text or f"${{{name}}}" in text, f"nothing uses the variable {name}"
    for place in re.findall(r'"uid": "([^"]*)"', json.dumps(dashboard["panels"] + dashboard["templating"]["list"])):
        assert place == "${datasource}"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len({panel["title"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    taken = set()
    for panel in dashboard["panels"]:
        assert panel["description"].endswith(".") and panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, f"{panel['title']} lies over another panel, or beside the grid"
        taken |= cells
        assert [target["refId"] for target in panel["targets"]] == sorted({target["refId"] for target in panel["targets"]})
        for target in panel["targets"]:
            for window in re.findall(r"\b(?:rate|increase|delta)\([^\[]*\[([^\]]*)\]", target["expr"]):
                assert window == "$__rate_interval", f"{panel['title']}: {window}"


@pytest.fixture(scope="module")
def household(tmp_path_factory):
    made = []

    def namespaces():
        made.append(Namespace())
        return made[-1]

    with contextlib.ExitStack() as undo:
        undo.callback(lambda: [namespace.delete() for namespace in made])
        household = Household(namespaces, tmp_path_factory.mktemp("household"), days=2)
        undo.callback(household.close)
        prometheus = household.prometheus()
        undo.callback(prometheus.close)
        household.live(prometheus, 5)
        yield lambda path: Filled(path, prometheus, time.time(), scrape_interval=1, ahead=True)


@each_dashboard
def test_every_query_of_every_panel_gives_data(household, path):
    filled = household(path)
    for panel in filled.dashboard["panels"]:
        names = preview.headings(panel) if panel["type"] == "table" else [target["legendFormat"] for target in panel["targets"]]
        for name, (target, answer) in zip(names, filled.answers(panel)):
            assert answer or (panel["title"], name) in SILENT, f"{panel['title']}: {target['expr']}"


@each_dashboard
def test_a_choice_of_a_variable_gives_data(household, path):
    filled = household(path)
    for variable in filled.dashboard["templating"]["list"][1:]:
        question = filled.expression(variable["query"]["query"], 60)
        selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", question).groups()
        assert filled.prometheus.query(f"count by ({label}) ({selector})"), question


@each_dashboard
def test_a_picture_can_be_made(household, path, tmp_path):
    preview.picture(household(path), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 20_000


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"])
def test_bars_are_the_ledgers_days_and_months_at_local_midnight(cable, exporter, serve, tmp_path, zone):
    near, far = cable
    local = zoneinfo.ZoneInfo(zone)
    begin, end = (int(datetime.datetime(2026, *when, tzinfo=local).timestamp()) for when in ((8, 20, 5, 17), (11, 5, 10, 40)))
    # netusage is off for two nights and the day between them, and later for less than a day. The machine stays on.
    off = [range(begin + 50 * DAY, begin + 51 * DAY + 70_000), range(begin + 60 * DAY, begin + 60 * DAY + 40_000)]
    (tmp_path / "netusage.yaml").write_text(f"timezone: {zone}\n")
    history, chance = History(tmp_path), random.Random(1)
    history.set(begin)
    netusage = exporter(near, f"--config.file={tmp_path}/netusage.yaml", environment=history.clock.environment)
    for moment in range(begin, end + 1, 2 * 3600 + 600):
        history.set(moment)
        near.send("10.0.0.2", packets=chance.randrange(1, 20))
        netusage.metrics()
        if any(moment in span for span in off):
            continue
        # Prometheus's clock is some seconds ahead. Once, netusage's clock is wrong for a while.
        history.scrape(netusage, moment + 3, "nas")
        if begin + 40 * DAY <= moment < begin + 40 * DAY + 7800:
            history.set(1000)
            history.scrape(netusage, moment + 600, "nas")
    netusage.stop()
    history.blocks(tmp_path / "data")
    prometheus = serve(Prometheus, near, tmp_path, "", flags=["--storage.tsdb.retention.time=10y"])
    days = dict(sqlite3.connect(netusage.ledger).execute("SELECT date, transmitted FROM days WHERE kind = 'uplink'"))
    filled = Filled(ROOT / "grafana" / "dashboards" / "netusage-overview.json", prometheus, end)
    by_title = {panel["title"]: panel for panel in filled.dashboard["panels"]}

    def bars(title, form):
        sent, = filled.ask(by_title[title], by_title[title]["targets"][1])
        shown = [(datetime.datetime.fromtimestamp(at, local), int(value)) for at, value in sent["values"]]
        # Each bar is at the first step of its period, so that it has the period's date.
        step = datetime.timedelta(seconds=filled.step(by_title[title]))
        for at, _ in shown:
            assert (at - step).strftime(form) != at.strftime(form)
        return {at.strftime(form): value for at, value in shown}

    def date(moment):
        return datetime.datetime.fromtimestamp(moment, local).strftime("%Y-%m-%d")

    # The day on which the long silence began shows only what was known then. The next day has no bar.
    unsure = {date(off[0].start), date(off[0].start + DAY)}
    shown = bars("Each day", "%Y-%m-%d")
    assert {day: total for day, total in shown.items() if day not in unsure} == {
        day: total for day, total in days.items() if day > date(end - 31 * DAY) and day not in unsure}
    assert all(total <= days[day] for day, total in shown.items())
    months = {}
    for date, total in days.items():
        months[date[:7]] = months.get(date[:7], 0) + total
    assert bars("Each month", "%Y-%m") == months


def test_the_console_shows_in_a_browser_what_prometheus_knows(cable, exporter, serve, tmp_path):
    near, far = cable
    (tmp_path / "netusage.yaml").write_text("quotas: [{ name: '<b>home</b>', count: [wan0], limit: 1 MB }]\n")
    exporter(near, f"--config.file={tmp_path}/netusage.yaml")
    prometheus = serve(Prometheus, near, tmp_path, shipped("prometheus/prometheus.yml", scrape_interval="1s"), RULES, flags=[
        f"--web.console.templates={DEPLOY}/prometheus/consoles", f"--web.console.libraries={DEPLOY}/prometheus/consoles"])
    near.send("10.0.0.2", packets=1000)
    eventually(lambda: prometheus.query("netusage_quota_breached == 1"))

    def browser(path, *flags):
        return run("ip", "netns", "exec", near.name, "chromium", "--headless", "--no-sandbox", "--disable-gpu",
                   "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", *flags,
                   f"http://127.0.0.1:9090/consoles/{path}", timeout=60)

    def words(page):
        """The words in each cell, for each row of the tables."""
        rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
        return [[html.unescape(re.sub(r"<[^>]*>|\s+", " ", cell)).split() for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)] for row in rows]

    shown = words(browser("netusage.html", "--dump-dom"))
    machine = next(row for row in shown if row and row[0] == ["127.0.0.1:10073"])
    assert machine[3] == machine[5] == ["1.042MB"] and machine[7] == ["online"]
    quota = next(row for row in shown if row and row[0] == ["<b>home</b>"])
    assert quota[2][-1] == "104.2%" and quota[3:5] == [["1.042MB"], ["1MB"]] and quota[7] == ["breached"]
    one = words(browser("netusage.html?instance=127.0.0.1:10073", "--dump-dom"))
    device = next(row for row in one if row and row[0] == ["wan0", "(uplink)"])
    assert device[4] == device[6] == ["1.042MB"]
    assert "no netusage at &lt;script&gt; in" in browser("netusage.html?instance=%3Cscript%3E", "--dump-dom")
