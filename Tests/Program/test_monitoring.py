"""The whole chain with the shipped files: the real program, its rules in a real Prometheus, its configuration in a real Alertmanager."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from servers import DEPLOY, Alertmanager, Prometheus, Webhook, shipped
from support import BINARY, PATIENCE, ROOT, FakeClock, eventually, run

# Only the intervals are shorter than in the shipped files.
SECOND = {"scrape_interval": "1s", "evaluation_interval": "1s"}
DAY = 86400


@pytest.fixture
def prometheus(tmp_path, cable, serve):
    """Starts Prometheus in the first namespace of the cable."""
    def start(targets=("127.0.0.1:10073",)):
        configuration = shipped("prometheus/prometheus.yml", **SECOND).replace('["127.0.0.1:10073"]', json.dumps(list(targets)))
        return serve(Prometheus, cable[0], tmp_path, configuration, sorted((DEPLOY / "prometheus").glob("*.rules.yml")))

    return start


def test_a_breach_is_told_once_without_its_warnings_and_is_over_with_the_cycle(tmp_path, cable, exporter, serve, prometheus):
    near, far = cable
    clock = FakeClock(tmp_path)
    (tmp_path / "netusage.yaml").write_text("""
        quotas:
          - { name: home, count: [wan0], direction: transmit, limit: 1 MB, warn_at: [50%, 80%], cycle: { every: month } }
        """)
    exporter(near, f"--config.file={tmp_path}/netusage.yaml", environment=clock.environment)
    webhook = serve(Webhook, near)
    alertmanager = serve(
        Alertmanager, near, tmp_path, shipped("alertmanager/alertmanager.yml", group_wait="2s", group_interval="1s"),
        [DEPLOY / "alertmanager" / "netusage.tmpl"])
    prometheus = prometheus()
    eventually(lambda: prometheus.query("netusage_quota_breached == 0"), 30)
    near.send("10.0.0.2", packets=1000)
    eventually(lambda: prometheus.alerts() == ["NetusageQuotaBreached"] + 2 * ["NetusageQuotaThresholdReached"], 30)
    eventually(webhook.notifications, 30)
    # More traffic changes the figures, but sends no new notification.
    for _ in range(6):
        near.send("10.0.0.2", packets=10)
        time.sleep(PATIENCE)
    assert webhook.notifications() == [("firing", "NetusageQuotaBreached")]
    told, = webhook.heard[0]["alerts"]
    assert told["labels"]["quota"] == "home" and told["labels"]["severity"] == "critical"
    assert "1.042MB of 1MB are used. The cycle ends in " in told["annotations"]["description"]
    held_back = json.loads(alertmanager.get("/api/v2/alerts?active=false&inhibited=true"))
    assert [each["labels"]["alertname"] for each in held_back] == 2 * ["NetusageQuotaThresholdReached"]
    clock.set(32 * DAY)
    eventually(lambda: len(webhook.heard) > 1, 30)
    time.sleep(3 * PATIENCE)
    assert webhook.notifications() == [("firing", "NetusageQuotaBreached"), ("resolved", "NetusageQuotaBreached")]
    assert prometheus.alerts() == [] and json.loads(alertmanager.get("/api/v2/alerts")) == []
    assert prometheus.complaints == [] and alertmanager.complaints == []


def test_machines_that_share_a_quota_are_added_up_also_when_one_is_off(tmp_path, cable, exporter, prometheus):
    near, far = cable
    clock = FakeClock(tmp_path)
    clock.set(-40 * DAY)
    running, sent = {}, {}
    for number, name in enumerate(["server", "desktop", "laptop", "stray"], start=1):
        near.bridge(f"lan{number}", number)
        directory = tmp_path / name
        directory.mkdir()
        (directory / "netusage.yaml").write_text(
            f"quotas: [{{ name: family, count: [lan{number}], limit: 10 MB, cycle: {{ every: month }} }}]")
        # The stray's clock is forty days behind: its cycle has long ended.
        running[name] = exporter(near, f"--config.file={directory}/netusage.yaml", directory=directory, port=10072 + number,
                                 environment=clock.environment if name == "stray" else None)
        sent[name] = near.send(f"10.{number}.0.9", packets=1000 * number)
    prometheus = prometheus([f"127.0.0.1:{each.port}" for each in running.values()])

    def right():
        return prometheus.query("sum by (quota) (quota:netusage_quota_used_bytes:sum)") == {
            (("quota", "family"),): sent["server"] + sent["desktop"] + sent["laptop"]}

    eventually(right, 30)
    running["laptop"].stop()
    eventually(lambda: prometheus.query("up == 0"), 30)
    sent["server"] += near.send("10.1.0.9", packets=100)
    eventually(right, 30)
    assert list(prometheus.query("quota:netusage_quota_hosts:count").values()) == [3]
    assert list(prometheus.query("quota:netusage_quota_limit_bytes:max").values()) == [10e6]
    # Together, they breach the quota, but none of them does so alone.
    assert prometheus.query("netusage_quota_breached == 1") == {}
    near.send("10.1.0.9", packets=5000)
    eventually(lambda: "NetusageSharedQuotaBreached" in prometheus.alerts(), 30)
    assert "NetusageQuotaBreached" not in prometheus.alerts()


def test_the_demonstration_shows_a_breach_and_leaves_nothing(namespaces, tmp_path):
    place = namespaces()
    with open(tmp_path / "out", "w") as out:
        # A background job of a shell ignores Ctrl-C, and these tests may be one. So restore the signal's default.
        demo = subprocess.Popen(["ip", "netns", "exec", place.name, sys.executable, DEPLOY / "demo.py", BINARY], stdout=out, stderr=out,
                                env={**os.environ, "TMPDIR": str(tmp_path)},
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    shown = (tmp_path / "out").read_text
    try:
        eventually(lambda: "CRITICAL  Quota demo on 127.0.0.1:10083 is breached" in shown(), 90, every=0.5)
        assert "WARNING  Quota demo on 127.0.0.1:10083 has reached 50% of its limit" in shown()
        top_up = re.search(r"quota top-up demo .*", shown())[0].replace('"1 GB"', "1GB").split()
        run(BINARY, *top_up)
        eventually(lambda: "OVER  Quota demo on 127.0.0.1:10083 is breached" in shown(), 60, every=0.5)
    finally:
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30 * PATIENCE) == 0, shown()
    assert run("ip", "netns", "pids", place.name) == "" and [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_containers_mount_what_there_is():
    compose = (DEPLOY / "container" / "compose.yaml").read_text()
    for path in re.findall(r"- (\.\.[^:]*):", compose):
        assert (DEPLOY / "container" / path).exists(), path
    assert (ROOT / re.search(r"dockerfile: (.*)", compose)[1]).exists()
