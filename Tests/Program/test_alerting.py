"""The files for Prometheus and Alertmanager: their own tools accept them, the metrics in them exist, each alert is in the runbook."""

import json
import os
import re

import pytest

from servers import DEPLOY
from support import ROOT, run

RULES = sorted((DEPLOY / "prometheus").glob("*.rules.yml"))


def alerts(path):
    return re.findall(r"^ +- alert: (\w+)$", path.read_text(), re.MULTILINE)


def test_prometheus_takes_the_configuration_and_the_rules():
    assert len(RULES) == 2
    run("promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    run("promtool", "check", "rules", *RULES)


def test_each_alert_fires_when_it_should_and_ends_when_it_is_over():
    tests = sorted((DEPLOY / "prometheus" / "tests").glob("*.test.yml"))
    run("promtool", "test", "rules", *tests)
    tried = "".join(path.read_text() for path in tests)
    for name in [name for path in RULES for name in alerts(path)]:
        expectations = re.findall(rf"alertname: {name}\b(.*)", tried)
        assert any("exp_alerts: []" in text for text in expectations), f"{name} is never expected to be silent"
        assert any("exp_alerts: []" not in text for text in expectations), f"{name} is never expected to fire"


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_each_alert_has_its_page_in_the_runbook(path):
    pages = re.findall(r"^## (\w+)$", (DEPLOY / "RUNBOOK.md").read_text(), re.MULTILINE)
    assert len(pages) == len(set(pages))
    for name in alerts(path):
        assert name.startswith("Netusage") and name in pages
        assert f"runbook_url: deploy/RUNBOOK.md#{name.lower()}\n" in path.read_text()


def test_the_rules_name_only_metrics_that_there_are():
    table = (DEPLOY / "manual" / "metrics.md").read_text()
    scrape = (ROOT / "Tests" / "ExporterTests" / "Golden" / "household.prom").read_text()
    known = set(re.findall(r"[a-z][a-z0-9_]+", table)) | set(re.findall(r"^# TYPE netusage_(\w+)", scrape, re.MULTILINE))
    for path in RULES:
        text = re.sub(r"^ *#.*$", "", path.read_text(), flags=re.MULTILINE)
        for name in set(re.findall(r"(?<![:\w])netusage_([a-z0-9_]+)(?![:\w])", text)):
            assert name in known, name


def test_alertmanager_takes_the_configuration():
    assert "SUCCESS" in run("amtool", "check-config", DEPLOY / "alertmanager" / "alertmanager.yml")


def test_a_message_reads_well(tmp_path):
    def alert(summary):
        return {"status": "resolved", "startsAt": "2026-11-21T10:00:00Z", "endsAt": "2026-12-01T00:00:00Z",
                "annotations": {"summary": summary, "description": "1TB of 1TB are used.", "runbook_url": "deploy/RUNBOOK.md#x"}}

    def rendered(template, **data):
        (tmp_path / "data.json").write_text(json.dumps(data))
        return run("amtool", "template", "render", f"--template.glob={DEPLOY}/alertmanager/netusage.tmpl",
                   f"--template.text={{{{ template \"netusage.{template}\" . }}}}", f"--template.data={tmp_path}/data.json",
                   env={**os.environ, "TZ": "Europe/Berlin"})

    breached = alert("Quota home on nas is breached")
    assert rendered("subject", status="firing", alerts=[breached]).strip() == "Quota home on nas is breached"
    assert rendered("subject", status="resolved", alerts=[breached, alert("B"), alert("C")]).strip() == \
        "Resolved: Quota home on nas is breached (and 2 more)"
    over = "Resolved: Quota home on nas is breached.\nFrom 2026-11-21 11:00 CET until 2026-12-01 01:00 CET.\n\n"
    fires = """Quota home on nas is breached.
1TB of 1TB are used.
Since 2026-11-21 11:00 CET.
What to do: deploy/RUNBOOK.md#x

"""
    end = "To silence it: http://nas:9093/#/silences\n"
    assert rendered("text", status="resolved", alerts=2 * [breached], externalURL="http://nas:9093").strip("\n") + "\n" == \
        2 * over + end
    assert rendered("text", status="firing", alerts=[{**breached, "status": "firing"}], externalURL="http://nas:9093").strip("\n") == \
        fires + end.strip("\n")
