"""The rules for Prometheus: right by promtool, about metrics that there are, each with its page in the runbook."""

import pathlib
import re
import subprocess

import pytest

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"
RULES = sorted((DEPLOY / "prometheus").glob("*.rules.yml"))


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def alerts(path):
    return re.findall(r"^ +- alert: (\w+)$", path.read_text(), re.MULTILINE)


def test_prometheus_takes_the_rules():
    assert len(RULES) == 2
    promtool("check", "rules", *RULES)


def test_each_alert_fires_when_it_should_and_ends_when_it_is_over():
    tests = sorted((DEPLOY / "prometheus" / "tests").glob("*.test.yml"))
    promtool("test", "rules", *tests)
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
    readme = (DEPLOY.parent / "README.md").read_text()
    table = readme[readme.index("## Metrics"):readme.index("## How it counts")]
    known = set(re.findall(r"[a-z][a-z0-9_]+", table))
    for path in RULES:
        text = re.sub(r"^ *#.*$", "", path.read_text(), flags=re.MULTILINE)
        for name in set(re.findall(r"(?<![:\w])netusage_([a-z0-9_]+)(?![:\w])", text)):
            assert name in known or any(name.endswith(suffix) and name.removesuffix(suffix) in known for suffix in ("_total",)), name
