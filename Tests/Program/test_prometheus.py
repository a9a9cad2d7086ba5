"""A real Prometheus scrapes the real program."""

import subprocess
import time

import pytest

from servers import Prometheus
from support import PATIENCE, eventually

CONFIGURATION = """
global: { scrape_interval: 1s }
scrape_configs:
  - job_name: netusage
    static_configs: [{ targets: ["127.0.0.1:10073"] }]
"""


@pytest.fixture
def prometheus(cable, exporter, serve, tmp_path):
    exporter(cable[0])
    return serve(Prometheus, cable[0], tmp_path, CONFIGURATION)


def test_prometheus_scrapes_without_a_complaint(cable, prometheus):
    near, far = cable
    eventually(lambda: prometheus.query("up == 1"), 30)
    sent = near.send("10.0.0.2", packets=500)
    eventually(lambda: prometheus.query("netusage_day_transmit_bytes") and
               sent in prometheus.query("netusage_day_transmit_bytes").values())
    time.sleep(3 * PATIENCE)
    assert list(prometheus.query("count_over_time(up[1m]) - sum_over_time(up[1m])").values()) == [0]
    assert list(prometheus.query("scrape_samples_scraped").values())[0] > 50
    increase = prometheus.query('increase(netusage_transmit_bytes_total{device="wan0"}[1m])')
    assert list(increase.values())[0] >= sent * 0.9
    assert prometheus.complaints == []


def test_promtool_finds_nothing_wrong(cable, exporter):
    near, far = cable
    near.bridge("lan0", 7)
    body = exporter(near).get("/metrics").body
    done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), done.stderr.decode()
