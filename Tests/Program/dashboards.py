"""Does with a dashboard's data what Grafana does: fills in the variables, and asks a real Prometheus each query."""

import json
import re

from support import ROOT

PATHS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "M": 30 * 86400, "y": 365 * 86400}
# Grafana rounds a step to one of these numbers of seconds.
ROUND = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800]


def load(path):
    return json.loads(path.read_text())


def seconds(text):
    number, unit = re.fullmatch(r"(?:now-)?(\d+)([smhdMy])", text).groups()
    return int(number) * SECONDS[unit]


class Filled:
    """A dashboard over its own span, with its variables filled in: with all values, or with `nas` if you can choose only one.

    Grafana's spans end with the last whole step. With `ahead`, they end with the current step, so that new series are in them.
    """

    def __init__(self, path, prometheus, now, scrape_interval=15, ahead=False):
        self.dashboard = load(path)
        self.prometheus, self.now, self.scrape_interval, self.ahead = prometheus, now, scrape_interval, ahead
        self.values = {each["name"]: ".+" if each["multi"] else "nas"
                       for each in self.dashboard["templating"]["list"] if each["type"] == "query"}

    def span(self, panel):
        return seconds(panel.get("timeFrom") or self.dashboard["time"]["from"])

    def step(self, panel):
        """https://grafana.com/docs/grafana/latest/panels-visualizations/query-transform-data/#query-options"""
        points = panel.get("maxDataPoints", panel["gridPos"]["w"] * 60)
        least = max(self.span(panel) / points, seconds(panel["interval"]) if "interval" in panel else self.scrape_interval)
        return min(step for step in ROUND if step >= least)

    def expression(self, text, step):
        for name, value in self.values.items():
            text = text.replace(f"${name}", value)
        rate = max(step + self.scrape_interval, 4 * self.scrape_interval)
        text = text.replace("$__rate_interval", f"{rate}s")
        assert "$" not in text, text
        return text

    def ask(self, panel, target):
        """Prometheus's answer to one query: a list of {metric, value} or of {metric, values}."""
        step = self.step(panel)
        text = self.expression(target["expr"], step)
        if target["instant"]:
            return self.prometheus.ask(text, time=self.now)
        end = (-(-self.now // step) if self.ahead else self.now // step) * step
        return self.prometheus.ask(text, start=end - self.span(panel) // step * step, end=end, step=step)

    def answers(self, panel):
        """(target, answer) of each query of a panel."""
        return [(target, self.ask(panel, target)) for target in panel["targets"]]


def legend(target, metric):
    """The name of a series in the legend."""
    if target["legendFormat"] == "__auto":
        return ", ".join(value for name, value in metric.items() if name != "__name__") or target["expr"]
    return re.sub(r"{{(\w+)}}", lambda match: metric.get(match[1], ""), target["legendFormat"])
