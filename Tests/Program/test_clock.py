"""The wall clock is set while the program runs: no total changes, the program goes on, and no rate is absurd."""

import time

import pytest

from support import PATIENCE, FakeClock, eventually

HOUR, DAY = 3600, 86400
STEPS = {
    "an hour ahead": HOUR, "an hour back": -HOUR, "a day ahead": DAY, "a day back": -DAY,
    "forty days ahead": 40 * DAY, "forty days back": -40 * DAY,
    "to 1970": -int(time.time()) + 1000, "past 2038": 2**31 + 1000 - int(time.time()),
}


@pytest.fixture
def faked(cable, exporter, tmp_path):
    """A namespace, a function that starts exporters in it, and a function that sets their wall clock."""
    clock = FakeClock(tmp_path)
    return cable[0], lambda: exporter(cable[0], environment={**clock.environment, "TZ": "Europe/Berlin"}), clock.set


@pytest.mark.parametrize("name", STEPS)
def test_a_step_changes_no_total(faked, name):
    near, start, set_clock = faked
    netusage = start()
    sent = near.send("10.0.0.2", packets=10)
    steps = netusage.metrics()["netusage_clock_steps_total"]
    real_day = netusage.metrics()["netusage_day_start_timestamp_seconds"]
    for offset in (STEPS[name], 0, STEPS[name], 0):
        set_clock(offset)
        eventually(lambda: netusage.metrics()["netusage_clock_steps_total"] > steps, 5)
        steps += 1
        sent += near.send("10.0.0.2", packets=10)
        time.sleep(1.1 * PATIENCE)
        shown = netusage.metrics()
        assert shown.pair("lifetime", "wan0") == (0, sent)
        assert shown["netusage_uplink_lifetime_transmit_bytes"] == sent
        assert shown.device("gap_bytes_total", "wan0") == 0 == shown.device("suspect_bytes_total", "wan0")
        assert shown.device("transmit_peak_bytes_per_second", "wan0") <= sent * 10
        assert shown["netusage_ledger_up"] == 1
    assert shown["netusage_day_start_timestamp_seconds"] == real_day
    assert shown.pair("lifetime", "wan0") == (0, sent)
    # Bytes that were read under the wrong clock are on the days that it showed. The open month has the others, also after a restart.
    assert shown.pair("month", "wan0")[1] >= 30 * 1042
    netusage.stop()
    again = start().metrics()
    for what in ("lifetime", "month", "day"):
        assert again.pair(what, "wan0") == shown.pair(what, "wan0"), what


def test_bytes_of_each_side_of_midnight_go_to_their_day(faked):
    near, start, set_clock = faked
    netusage = start()
    now = int(time.time())
    shown = netusage.metrics()
    midnight = shown["netusage_day_start_timestamp_seconds"] + DAY
    if midnight - now > DAY:
        midnight -= DAY
    before = shown.pair("day", "wan0")[1]
    set_clock(int(midnight - now - 3 * PATIENCE))
    eventually(lambda: netusage.metrics()["netusage_clock_steps_total"] == 1, 5)
    # Send in small parts until midnight. Readings may come at any moment.
    evening = 0
    while netusage.metrics()["netusage_day_start_timestamp_seconds"] < midnight:
        evening += near.send("10.0.0.2", packets=3)
        time.sleep(0.01)
    # The last part may have been sent before or after midnight.
    shown = netusage.metrics()
    morning = shown.pair("day", "wan0")[1]
    assert morning <= 2 * 3 * 1042
    sent = near.send("10.0.0.2", packets=100)
    shown = netusage.metrics()
    assert shown.pair("day", "wan0") == (0, morning + sent)
    assert shown.pair("previous_day", "wan0")[1] == before + evening - morning
    assert shown.pair("lifetime", "wan0") == (0, before + evening + sent)
