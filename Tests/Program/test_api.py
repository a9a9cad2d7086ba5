"""The JSON API: it fits its description and the metrics, and hostile clients do no harm."""

import contextlib
import gzip
import http.client
import json
import subprocess
import sys
import time

import pytest

from support import BINARY, ROOT, eventually

PLANS = """
timezone: Asia/Kathmandu
quotas:
  - { name: home, limit: 1 MB, warn_at: [50%], price: { currency: EUR, base: 1 } }
rate_limits: [{ name: busy, count: [wan0], limit: 1 MB/s, for: 10s }]
committed_rates: [{ name: transit, count: [wan0], limit: 1 Mbit/s }]
"""


@pytest.fixture
def metered(cable, exporter, tmp_path):
    """A daemon with plans that has metered something."""
    near, _ = cable
    (tmp_path / "netusage.yaml").write_text(PLANS)
    daemon = exporter(near, f"--config.file={tmp_path}/netusage.yaml")
    near.send("10.0.0.2", 700)
    return daemon


def ask(daemon, path, **options):
    answer = daemon.get(f"/api/v1/{path}", **options)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def accounts(report):
    return {account["name"]: account for account in report["accounts"]}


def test_schemathesis_finds_no_failure(metered):
    done = subprocess.run(
        ["ip", "netns", "exec", metered.namespace.name, sys.executable, "-m", "schemathesis.cli", "run", ROOT / "deploy/openapi.yaml",
         "--url", "http://127.0.0.1:10073/api/v1", "--checks", "all", "--exclude-tag", "changes", "--max-examples", "60", "--no-color"],
        capture_output=True, text=True, timeout=300, cwd=metered.ledger.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


def test_the_socket_beside_the_ledger_takes_changes(metered):
    def curl(path, body=None):
        done = subprocess.run(
            ["curl", "-s", "-w", "\n%{http_code}", "--unix-socket", f"{metered.ledger}.control", f"http://localhost/api/v1/{path}",
             *(["-d", json.dumps(body)] if body else [])], capture_output=True, text=True, check=True)
        answer, status = done.stdout.rsplit("\n", 1)
        return int(status), json.loads(answer)

    def order(kind, **fields):
        return curl("orders", {"quota": "home", "kind": {kind: fields}})

    status, usage = curl("usage?period=all")
    assert status == 200 and usage["accounts"] == ask(metered, "usage?period=all")["accounts"]
    status, kept = order("top_up", bytes=5_000_000)
    assert (status, kept["kind"], kept["bytes"]) == (200, "top-up", 5_000_000)
    quota, = ask(metered, "quotas")["quotas"]
    assert quota["top_up_bytes"] == 5_000_000
    status, undone = order("undo")
    assert (status, undone["id"]) == (200, kept["id"]) and "undone_at" in undone
    assert order("undo")[0] == 409 and order("correct")[0] == 400 and order("correct", used_bytes=1, at="2999-01-01")[0] == 409
    slot = {"start": 1_600_000_000, "end": 1_600_000_300, "received": 1, "transmitted": 2}
    account = {"key": {"device": {"_0": "wan0"}}, "source": "wan0", "slots": [slot], "replaces": False}
    status, outcomes = curl("imports", {"is_trial": True, "accounts": [account]})
    assert status == 200, outcomes
    assert (status, outcomes[0]["taken"]) == (200, {"received": 1, "transmitted": 2})
    assert metered.get("/api/v1/orders", method="POST").status == 404


def test_every_figure_is_that_of_the_metrics_and_of_the_commands(metered):
    metrics = metered.metrics()
    for period in ("day", "week", "month"):
        wan = accounts(ask(metered, f"usage?period={period}"))["wan0"]
        assert (wan["received_bytes"], wan["transmitted_bytes"]) == metrics.pair(period, "wan0")
        assert wan["total_bytes"] == sum(metrics.pair(period, "wan0"))
    everything = accounts(ask(metered, "usage?period=all"))
    assert everything["uplink"]["transmitted_bytes"] == metrics["netusage_uplink_lifetime_transmit_bytes"] == 700 * 1042
    assert accounts(ask(metered, "usage?period=all&until=yesterday&device=uplink"))["uplink"]["total_bytes"] == 0
    # People paste a moment with a plain +, which means a blank in an address.
    assert [ask(metered, f"usage?since=2026-11-20T09:00:00{sign}01:00")["until"] for sign in ("+", "%2B")]
    long_ago = ask(metered, "usage?last=1432&until=0817-06-13&grain=year&device=uplink")
    assert long_ago["since"].startswith("0001-01-01") and accounts(long_ago)["uplink"]["total_bytes"] == 0
    live = accounts(ask(metered, "live"))
    assert (live["wan0"]["today"]["received_bytes"], live["wan0"]["today"]["transmitted_bytes"]) == metrics.pair("day", "wan0")
    quota, = ask(metered, "quotas")["quotas"]
    assert quota["used_bytes"] == metrics['netusage_quota_used_bytes{quota="home"}'] == 700 * 1042
    assert ask(metered, "status")["uplink_device"] == "wan0" and ask(metered, "status")["day_start"].endswith("T00:00:00+05:45")

    def command(*arguments):
        done = subprocess.run([BINARY, *arguments, "--json", f"--storage.path={metered.ledger}"], capture_output=True, text=True)
        return json.loads(done.stdout)
    for arguments, path in ((["today"], "usage"), (["days", "--device", "wan0"], "usage?grain=day&last=30&device=wan0"),
                            (["recent", "--device", "w*"], "usage?grain=5m&last=5&device=w*"), (["quota"], "quotas")):
        def at_one_moment():
            first, second = command(*arguments), ask(metered, path)
            return first.get("as_of", first.get("metered_until")) == second.get("as_of", second.get("metered_until")) and (first, second)
        first, second = eventually(at_one_moment)
        assert first == second


def test_answers_are_cached_as_long_as_they_are_true(metered):
    for path in ("status", "live"):
        assert metered.get(f"/api/v1/{path}").headers["Cache-Control"] == "no-store"
    # A span that is over doesn't change any more, whatever the time is.
    path = "/api/v1/usage?grain=day&since=2020-01-01&until=yesterday"
    first = metered.get(path)
    assert first.headers["Cache-Control"] == "private, no-cache" and "Vary" in first.headers
    time.sleep(1.1)
    again = metered.get(path, headers={"If-None-Match": f'"x", {first.headers["ETag"]}'})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    now = metered.get("/api/v1/usage?period=day&device=wan0")
    metered.namespace.send("10.0.0.2", 1)
    assert metered.get("/api/v1/usage?period=day&device=wan0", headers={"If-None-Match": now.headers["ETag"]}).status == 200
    packed = metered.get("/", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip" and gzip.decompress(packed.body).startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("path, status, text", [
    ("nothing", 404, "nothing at this address"), ("usage?device=eth7", 404, "there is uplink"), ("usage?when=now", 400, "no parameter when"),
    ("usage?since=soon", 400, "soon is not a time"), ("usage?grain=5", 400, "none of total, 5m"), ("usage?period=day&period=day", 400, "twice"),
    ("status?x=1", 400, "takes none"), ("usage?since=%f", 400, "%-escapes"), ("usage?since=%ff", 400, "%-escapes"), ("usage?last=0", 400, "not a number"),
    ("usage?last=many", 400, "not a number"), ("export?grain=month", 400, "none of 5m, hour, day"), ("export?label=device%3Dx", 400, "name=value"),
])
def test_a_question_that_makes_no_sense_is_told_what_is_wrong(metered, path, status, text):
    answer = metered.get(f"/api/v1/{path}")
    assert answer.status == status and answer.headers["Content-Type"] == "application/json"
    assert text in json.loads(answer.body)["error"]


def test_a_page_under_a_foreign_name_gets_nothing(metered):
    for path in ("status", "live", "usage", "quotas", "export", "nothing"):
        answer = metered.get(f"/api/v1/{path}", headers={"Host": "evil.example:10073"})
        assert answer.status == 403 and b"wan0" not in answer.body and b"bytes" not in answer.body
        allowed = metered.get(f"/api/v1/{path}", headers={"Host": "localhost:10073", "Origin": "http://evil.example"})
        assert "Access-Control-Allow-Origin" not in allowed.headers and allowed.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_only_questions_are_taken(metered):
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = metered.get("/api/v1/usage", method=method)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD"), method
    for path in ("usage", "export", "live"):
        head = metered.get(f"/api/v1/{path}", method="HEAD")
        assert (head.status, head.body) == (200, b"")


@contextlib.contextmanager
def watching(daemon):
    """A client of the live events. `events()` yields each event when it comes."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=10)
    with daemon.namespace.entered():
        connection.connect()
    with contextlib.closing(connection):
        connection.request("GET", "/api/v1/live", headers={"Accept": "text/event-stream"})
        answer = connection.getresponse()
        answer.events = lambda: (json.loads(line[6:]) for line in answer if line.startswith(b"data: "))
        with contextlib.closing(answer):
            yield answer


def test_live_comes_as_events_once_a_second(metered):
    with watching(metered) as answer:
        assert answer.status == 200 and answer.headers["Content-Type"] == "text/event-stream"
        started = time.monotonic()
        events = answer.events()
        first = next(events)
        sent = metered.namespace.send("10.0.0.2", 300)
        later = [next(events) for _ in range(3)]
        assert 1.5 < time.monotonic() - started < 6
        growth = accounts(later[-1])["wan0"]["today"]["transmitted_bytes"] - accounts(first)["wan0"]["today"]["transmitted_bytes"]
        assert growth == sent
        assert max(accounts(each)["wan0"]["transmit_bytes_per_second"] for each in later) > 0


def test_watchers_leave_room_for_scrapes(metered):
    with contextlib.ExitStack() as stack:
        watchers = [stack.enter_context(watching(metered)) for _ in range(40)]
        assert [each.status for each in watchers].count(200) == 32 and {each.status for each in watchers} == {200, 503}
        assert metered.metrics()
        for each in watchers:
            if each.status == 200:
                assert next(each.events())["online"]
    # Clients that are gone give their places back.
    def has_room():
        with watching(metered) as answer:
            return answer.status == 200
    assert eventually(has_room)
    metered.stop()
