"""Draws a dashboard without Grafana: each panel at its place in the grid, in a plain form, from the answers to its queries.

The picture shows what a person would notice: where things are, whether they fit, whether figures and units make sense. Fonts, axes and
details differ from Grafana's. `python3 Tests/Program/preview.py DIRECTORY` draws each dashboard, from two months of a household's history.
"""

import datetime
import html
import math
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import zoneinfo

from dashboards import PATHS, Filled, legend

COLUMN, ROW, GUTTER = 58, 38, 8
ZONE = zoneinfo.ZoneInfo("Europe/Berlin")
COLORS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff780a", "#f2495c", "#b877d9", "#8ab8ff", "#ffa6b0"]
NAMED = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2", "text": "#d8d9da"}
STYLE = """
body { margin: 0; background: #111217; color: #d8d9da; font: 12px/1.3 'DejaVu Sans', sans-serif }
#page { position: relative } .panel { position: absolute; background: #181b1f; border: 1px solid #2c3235; overflow: hidden;
box-sizing: border-box } .title { padding: 6px 8px; font-weight: bold; white-space: nowrap } .body { position: absolute; top: 28px;
left: 8px; right: 8px; bottom: 6px } table { width: 100%; border-collapse: collapse } th { text-align: left; color: #6e9fff;
font-weight: normal; border-bottom: 1px solid #2c3235; padding: 3px } td { padding: 3px; border-bottom: 1px solid #22252b;
white-space: nowrap } .stat { font-size: 26px; text-align: center } .stat small { font-size: 12px; color: #9a9b9c } .bar {
display: flex; align-items: center; margin: 4px 0 } .bar .name { width: 38%; overflow: hidden; white-space: nowrap } .bar .track {
flex: 1; background: #22252b; height: 18px } .bar .value { width: 84px; text-align: right } svg text { fill: #9a9b9c; font-size: 10px }
.empty { color: #6c6d6e; text-align: center; padding-top: 30px }
"""


def scaled(value, unit, base, prefixes):
    for prefix in prefixes:
        if abs(value) < base or prefix == prefixes[-1]:
            return f"{value:.3g} {prefix}{unit}" if abs(value) < 1000 else f"{value:.0f} {prefix}{unit}"
        value /= base


def shown(value, unit, decimals=None):
    """The text for a value in one of Grafana's units."""
    if value is None or math.isnan(value):
        return ""
    if unit in ("decbytes", "Bps", "bps"):
        return scaled(value, {"decbytes": "B", "Bps": "B/s", "bps": "b/s"}[unit], 1000, ["", "k", "M", "G", "T", "P"])
    if unit == "percentunit":
        return f"{100 * value:.3g}%"
    if unit == "s":
        for size, name in ((86400, "days"), (3600, "hours"), (60, "mins")):
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
        return f"{value:.3g} s"
    if unit == "dateTimeAsLocal":
        return moment(value / 1000, "%Y-%m-%d %H:%M:%S")
    assert unit in ("none", "short"), f"the preview doesn't know the unit {unit}"
    return f"{value:.{decimals}f}" if decimals is not None else f"{value:.4g}"


def moment(timestamp, form):
    return datetime.datetime.fromtimestamp(timestamp, ZONE).strftime(form)


def threshold_color(defaults, value):
    color = None
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    return NAMED[color]


def color_of(defaults, value, place=0):
    mode = defaults["color"]["mode"]
    if mode == "thresholds":
        return threshold_color(defaults, value)
    return NAMED[defaults["color"]["fixedColor"]] if mode == "fixed" else COLORS[place % len(COLORS)]


def series(answers):
    """(name, [(time, value)]) of each series of a panel. A series of an instant query has one point."""
    for target, answer in answers:
        for each in answer:
            points = each["values"] if "values" in each else [each["value"]]
            yield legend(target, each["metric"]), [(float(at), float(value)) for at, value in points]


def svg(width, height, content):
    return f'<svg width="{width}" height="{height}">{"".join(content)}</svg>'


class Plot:
    """The axes of a plot. Computes the place of each time and value."""

    def __init__(self, size, span, low, high, unit):
        self.width, self.height = size[0], size[1] - 26
        self.span, self.low, self.high = span, low, high if high > low else low + 1
        self.content = []
        for part in range(5):
            value = self.low + (self.high - self.low) * part / 4
            self.content.append(f'<line x1="64" x2="{self.width}" y1="{self.y(value):.1f}" y2="{self.y(value):.1f}" stroke="#2c3235"/>'
                                f'<text x="58" y="{self.y(value) + 3:.1f}" text-anchor="end">{shown(value, unit)}</text>')

    def x(self, at):
        return 64 + (self.width - 64) * (at - self.span[0]) / (self.span[1] - self.span[0])

    def y(self, value):
        return 8 + (self.height - 26) * (1 - (value - self.low) / (self.high - self.low))

    def times(self):
        form = "%H:%M" if self.span[1] - self.span[0] <= 2 * 86400 else "%d %b"
        for part in range(6):
            at = self.span[0] + (self.span[1] - self.span[0]) * (part + 0.5) / 6
            self.content.append(f'<text x="{self.x(at):.1f}" y="{self.height - 4}" text-anchor="middle">{moment(at, form)}</text>')


def key(names):
    parts = [f'<span style="color:{COLORS[place % len(COLORS)]}">━</span> {html.escape(name)}&nbsp;&nbsp; ' for place, name in enumerate(names)]
    return f'<div>{"".join(parts)}</div>'


def draw_timeseries(panel, answers, size, span, step):
    found = list(series(answers))
    stacked = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
    if stacked:
        below, lifted = {}, []
        for name, points in found:
            points = [(at, below.get(at, 0) + value) for at, value in points]
            below.update(points)
            lifted.append((name, points))
        found = lifted
    highest = max((value for _, points in found for _, value in points), default=1)
    plot = Plot(size, span, 0, highest * 1.05, panel["fieldConfig"]["defaults"]["unit"])
    plot.times()
    dashed = [item["matcher"]["options"].rstrip(".*") for item in panel["fieldConfig"]["overrides"]
              if any(prop["id"] == "custom.lineStyle" for prop in item["properties"])]
    gap = max(1.5 * step, (span[1] - span[0]) / 150)
    for place, (name, points) in reversed(list(enumerate(found))):
        path, last = "", None
        for at, value in points:
            path += f"{'L' if last and at - last <= gap else 'M'}{plot.x(at):.1f},{plot.y(value):.1f}"
            last = at
        dash = ' stroke-dasharray="6 5"' if any(name.startswith(start) for start in dashed) else ""
        plot.content.append(f'<path d="{path}" fill="none" stroke="{COLORS[place % len(COLORS)]}" stroke-width="1.4"{dash}/>')
    return svg(size[0], plot.height, plot.content) + key(name for name, _ in found)


def draw_barchart(panel, answers, size, span, step):
    found = list(series(answers))
    times = sorted({at for _, points in found for at, _ in points})
    totals = [sum(dict(points).get(at, 0) for _, points in found) for at in times]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    plot = Plot(size, (0, max(len(times), 1)), 0, max(totals, default=1) * 1.05, unit)
    form = {"D MMM": "%-d %b", "MMM YYYY": "%b %Y"}[panel["fieldConfig"]["overrides"][0]["properties"][0]["value"].removeprefix("time:")]
    every = math.ceil(len(times) / 12) if times else 1
    for place, at in enumerate(times):
        base = 0
        for number, (_, points) in enumerate(found):
            value = dict(points).get(at, 0)
            x, top, bottom = plot.x(place + 0.1), plot.y(base + value), plot.y(base)
            plot.content.append(f'<rect x="{x:.1f}" y="{top:.1f}" width="{plot.x(place + 0.9) - x:.1f}" height="{bottom - top:.1f}" '
                                f'fill="{COLORS[number]}"/>')
            base += value
        if place % every == 0:
            plot.content.append(f'<text x="{plot.x(place + 0.5):.1f}" y="{plot.height - 4}" text-anchor="middle">{moment(at, form)}</text>')
    return svg(size[0], plot.height, plot.content) + key(name for name, _ in found)


def draw_stat(panel, answers, size, span, step):
    defaults, parts = panel["fieldConfig"]["defaults"], []
    found = list(series(answers))
    special = {item["matcher"]["options"]: {each["id"]: each["value"] for each in item["properties"]}
               for item in panel["fieldConfig"]["overrides"]}
    for place, (name, points) in enumerate(found):
        label = f"<small>{html.escape(name)}</small> " if panel["options"]["textMode"] == "value_and_name" else ""
        parts.append(f'<div class="stat" style="color:{color_of({**defaults, **special.get(name, {})}, points[-1][1], place)}">{label}'
                     f'{shown(points[-1][1], defaults["unit"], defaults.get("decimals"))}</div>')
    if panel["options"]["graphMode"] == "area" and found:
        points = found[0][1]
        high = max(value for _, value in points) or 1
        path = "L".join(f"{size[0] * (at - span[0]) / (span[1] - span[0]):.1f},{size[1] - 44 - (size[1] - 50) * value / high:.1f}" for at, value in points)
        parts.append(svg(size[0], size[1] - 40, [f'<path d="M{path}" fill="none" stroke="{COLORS[0]}"/>']))
    return "".join(parts)


def draw_bargauge(panel, answers, size, span, step):
    defaults, parts = panel["fieldConfig"]["defaults"], []
    found = [(name, points[-1][1]) for name, points in series(answers)]
    highest = defaults.get("max") or max((value for _, value in found), default=1) or 1
    for place, (name, value) in enumerate(found):
        color = color_of(defaults, value, place)
        parts.append(f'<div class="bar"><div class="name">{html.escape(name)}</div><div class="track"><div style="width:'
                     f'{100 * min(value / highest, 1):.1f}%;height:100%;background:{color}"></div></div><div class="value" '
                     f'style="color:{color}">{shown(value, defaults["unit"])}</div></div>')
    return "".join(parts)


def headings(panel):
    """The heading of each query's column in a table."""
    steps = {step["id"]: step["options"] for step in panel["transformations"]}
    if "organize" not in steps:
        return ["Value"]
    names = steps["organize"]["renameByName"]
    return [names.get(f"Value #{target['refId']}", names.get("Value")) for target in panel["targets"]]


def rows_of(panel, answers):
    """(headings, rows of (value, unit)) of a table."""
    steps = {step["id"]: step["options"] for step in panel["transformations"]}
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if "groupingToMatrix" in steps:
        row, column = steps["groupingToMatrix"]["rowField"], steps["groupingToMatrix"]["columnField"]
        cells = {(each["metric"][row], each["metric"][column]): float(each["value"][1]) for each in answers[0][1]}
        columns = sorted({column for _, column in cells})
        return [f"{row}\\{column}", *columns], [
            [(name, None), *((cells.get((name, column)), unit) for column in columns)] for name in sorted({row for row, _ in cells})]
    order, names = steps["organize"]["indexByName"], steps["organize"]["renameByName"]
    labels = [name for name in sorted(order, key=order.get) if not name.startswith("Value")]
    units = {item["matcher"]["options"]: item["properties"][0]["value"] for item in panel["fieldConfig"]["overrides"]}
    cells = {}
    for heading, (_, answer) in zip(headings(panel), answers):
        for each in answer:
            cells.setdefault(tuple(each["metric"][label] for label in labels), {})[heading] = float(each["value"][1])
    columns = [names[name] for name in sorted(order, key=order.get)]
    values = columns[len(labels):]
    rows = [[*((label, None) for label in key), *((row.get(heading), units[heading]) for heading in values)] for key, row in cells.items()]
    if panel["options"].get("sortBy"):
        place = columns.index(panel["options"]["sortBy"][0]["displayName"])
        rows.sort(key=lambda row: -(row[place][0] or 0))
    return columns, rows


def draw_table(panel, answers, size, span, step):
    columns, rows = rows_of(panel, answers)
    cells = ["".join(f"<td>{html.escape(value) if unit is None else shown(value, unit)}</td>" for value, unit in row) for row in rows]
    return (f"<table><tr>{''.join(f'<th>{html.escape(heading)}</th>' for heading in columns)}</tr>"
            f"{''.join(f'<tr>{row}</tr>' for row in cells)}</table>")


def draw_states(panel, answers, size, span, step):
    options = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    found = list(series(answers))
    content, height = [], min(28, (size[1] - 24) / max(len(found), 1))

    def x(at):
        return 130 + (size[0] - 130) * (at - span[0]) / (span[1] - span[0])

    for place, (name, points) in enumerate(found):
        content.append(f'<text x="0" y="{place * height + height / 2 + 4:.1f}">{html.escape(name)}</text>')
        for at, value in points:
            content.append(f'<rect x="{x(at):.1f}" y="{place * height + 2:.1f}" width="{x(at + step) - x(at) + 0.6:.1f}" height="{height - 4:.1f}" '
                           f'fill="{NAMED[options[str(int(value))]["color"]]}"/>')
    return svg(size[0], size[1], content)


DRAWERS = {"timeseries": draw_timeseries, "barchart": draw_barchart, "stat": draw_stat, "bargauge": draw_bargauge, "table": draw_table,
           "state-timeline": draw_states}


def page(filled):
    """The HTML of a dashboard, and its height in pixels."""
    parts, bottom = [], 0
    for panel in filled.dashboard["panels"]:
        place = panel["gridPos"]
        width, height = place["w"] * COLUMN - GUTTER, place["h"] * ROW - GUTTER
        bottom = max(bottom, (place["y"] + place["h"]) * ROW)
        answers, span = filled.answers(panel), filled.span(panel)
        drawn = DRAWERS[panel["type"]](panel, answers, (width - 18, height - 36), (filled.now - span, filled.now), filled.step(panel))
        if not any(answer for _, answer in answers):
            drawn = '<div class="empty">No data</div>'
        more = f' <span style="color:#6c6d6e">Last {panel["timeFrom"]}</span>' if "timeFrom" in panel else ""
        parts.append(f'<div class="panel" style="left:{place["x"] * COLUMN + GUTTER}px;top:{place["y"] * ROW + 40}px;width:{width}px;'
                     f'height:{height}px"><div class="title">{html.escape(panel["title"])}{more}</div><div class="body">{drawn}</div></div>')
    title = f'<div style="padding:10px;font-size:16px">{html.escape(filled.dashboard["title"])}</div>'
    return (f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style><div id="page">{title}{"".join(parts)}</div>', bottom + 48)


def picture(filled, path):
    """Writes a PNG."""
    text, height = page(filled)
    source = path.with_suffix(".html")
    source.write_text(text)
    subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={24 * COLUMN + GUTTER},{height}",
         f"--screenshot={path}", source.as_uri()], check=True, capture_output=True, timeout=120)
    source.unlink()


def main(directory):
    from household import Household
    from support import Namespace

    made = []

    def namespaces():
        made.append(Namespace())
        return made[-1]

    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        household = Household(namespaces, pathlib.Path(temporary), days=62, months=4, scale=10, forecasts=True)
        prometheus = household.prometheus()
        household.live(prometheus, 150)
        threading.Thread(target=household.carry_on, daemon=True).start()
        for path in PATHS:
            picture(Filled(path, prometheus, time.time(), ahead=True), directory / f"{path.stem}.png")
        prometheus.close()
        household.close()
        for namespace in made:
            namespace.delete()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
