"""A real Prometheus scrapes the real program."""

import json
import os
import subprocess
import time
import urllib.parse

import pytest

from support import PATIENCE, Exporter, eventually, run

CONFIGURATION = """
global: { scrape_interval: 1s }
scrape_configs:
  - job_name: netusage
    static_configs: [{ targets: ["127.0.0.1:10073"] }]
"""


class Prometheus:
    """Debian's Prometheus in the exporter's namespace."""

    def __init__(self, netusage, directory):
        self.netusage = netusage
        (directory / "prometheus.yml").write_text(CONFIGURATION)
        self.log = directory / "prometheus.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", netusage.namespace.name, "prometheus", f"--config.file={directory}/prometheus.yml",
                 f"--storage.tsdb.path={directory}/data", "--web.listen-address=127.0.0.1:9090"], stderr=log)

    def query(self, expression):
        """{labels' values: value} of an instant query."""
        listener = Exporter.__new__(Exporter)
        listener.namespace, listener.port = self.netusage.namespace, 9090
        answer = listener.get("/api/v1/query?query=" + urllib.parse.quote(expression))
        if answer.status != 200:  # It says so while it starts.
            raise OSError(answer.body.decode())
        return {tuple(sorted(each["metric"].items())): float(each["value"][1])
                for each in json.loads(answer.body)["data"]["result"]}

    def has(self, expression):
        try:
            return self.query(expression)
        except OSError:
            return None


@pytest.fixture
def prometheus(cable, exporter, tmp_path):
    server = Prometheus(exporter(cable[0]), tmp_path)
    yield server
    server.process.terminate()
    server.process.wait()


def test_prometheus_scrapes_without_a_complaint(cable, prometheus):
    near, far = cable
    eventually(lambda: prometheus.has("up == 1"), 30)
    sent = near.send("10.0.0.2", packets=500)
    eventually(lambda: prometheus.query("netusage_day_transmit_bytes") and
               sent in prometheus.query("netusage_day_transmit_bytes").values())
    time.sleep(3 * PATIENCE)
    assert list(prometheus.query("count_over_time(up[1m]) - sum_over_time(up[1m])").values()) == [0]
    assert list(prometheus.query("scrape_samples_scraped").values())[0] > 50
    increase = prometheus.query('increase(netusage_transmit_bytes_total{device="wan0"}[1m])')
    assert list(increase.values())[0] >= sent * 0.9
    complaints = [line for line in prometheus.log.read_text().splitlines() if "level=warn" in line or "level=error" in line]
    assert complaints == []


def test_promtool_finds_nothing_wrong(cable, exporter):
    near, far = cable
    near.bridge("lan0", 7)
    body = exporter(near).get("/metrics").body
    done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), done.stderr.decode()
