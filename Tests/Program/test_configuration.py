"""The configuration as a user meets it: errors at start and on reload, and the effect of a reload."""

import os
import re
import signal
import subprocess
import time

import pytest

from support import BINARY, PATIENCE, ROOT, eventually, stuck

BAD = "sampling: { intervall: 1s }\nweek_starts: someday\ntimezone: Europe/Atlantis\n"
COMPLAINTS = [":1:13: sampling.intervall:", ":2:14: week_starts:", ":3:11: timezone:"]


def write(directory, text):
    path = directory / "netusage.yaml"
    path.write_text(text)
    return f"--config.file={path}"


def test_a_bad_file_is_told_whole_and_ends_with_78(cable, exporter, tmp_path):
    near, far = cable
    netusage = exporter(near, write(tmp_path, BAD), wait=False)
    assert netusage.process.wait(20 * PATIENCE) == 78
    checked = subprocess.run([BINARY, "config", "check", tmp_path / "netusage.yaml"], capture_output=True, text=True)
    assert checked.returncode == 78 and checked.stdout == ""
    for complaint in COMPLAINTS:
        assert complaint in netusage.log and complaint in checked.stderr
    (tmp_path / "netusage.yaml").write_text("sampling: { interval: 2s }\n")
    checked = subprocess.run([BINARY, "config", "check", tmp_path / "netusage.yaml"], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_what_is_no_plain_file_is_no_good_configuration(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, reason in ((tmp_path / "pipe", "plain file"), (tmp_path, "plain file"), (tmp_path / "none", "isn't there")):
        checked = subprocess.run([BINARY, "config", "check", path], capture_output=True, text=True, timeout=20)
        assert checked.returncode == 78 and reason in checked.stderr and checked.stdout == ""


@pytest.mark.parametrize("trap, reason", [("dangling", "No such file"), ("file above", "Not a directory")])
def test_only_a_file_that_isnt_there_means_the_defaults(tmp_path, trap, reason):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")

    def check():
        return subprocess.run(["unshare", "-m", "sh", "-c", 'mount --bind $0 /etc; exec "$@"', tmp_path / "etc", BINARY, "config", "check"],
                              capture_output=True, text=True)

    assert check().returncode == 0 and "the defaults apply" in check().stdout
    if trap == "dangling":
        (tmp_path / "etc/netusage").mkdir()
        (tmp_path / "etc/netusage/netusage.yaml").symlink_to("/nonexistent.yaml")
    else:
        (tmp_path / "etc/netusage").write_text("")
    done = check()
    assert done.returncode == 78 and done.stdout == "" and reason in done.stderr, done
    assert "/etc/netusage/netusage.yaml" in done.stderr


def test_a_named_file_must_be_there(cable, exporter, tmp_path):
    netusage = exporter(cable[0], f"--config.file={tmp_path}/none.yaml", wait=False)
    assert netusage.process.wait(20 * PATIENCE) == 78
    assert "none.yaml" in netusage.log


def test_a_reload_with_errors_leaves_everything_as_it_was(cable, exporter, tmp_path):
    near, far = cable
    netusage = exporter(near, write(tmp_path, "metrics: { rates: false }\n"), "--web.enable-lifecycle")
    assert netusage.metrics()["netusage_config_last_reload_successful"] == 1
    write(tmp_path, BAD)
    answer = netusage.get("/-/reload", method="POST")
    assert answer.status == 500 and all(complaint in answer.body.decode() for complaint in COMPLAINTS)
    shown = netusage.metrics()
    assert shown["netusage_config_last_reload_successful"] == 0
    assert shown.device("receive_bytes_per_second", "wan0") is None
    write(tmp_path, "metrics: { addresses: false }\n")
    netusage.signal(signal.SIGHUP)
    shown = eventually(lambda: (lambda m: m if m["netusage_config_last_reload_successful"] == 1 else None)(netusage.metrics()))
    assert shown.device("receive_bytes_per_second", "wan0") is not None
    assert "netusage_device_address_info" not in shown.text


def test_a_reload_loses_nothing(cable, exporter, tmp_path):
    near, far = cable
    netusage = exporter(near, write(tmp_path, ""), "--web.enable-lifecycle")
    sent = near.send("10.0.0.2")
    for text in ("sampling: { interval: 200ms }\n", "devices: { collapse: [] }\n", "week_starts: sunday\n", ""):
        write(tmp_path, text)
        assert netusage.get("/-/reload", method="POST").status == 200
        sent += near.send("10.0.0.2")
    assert netusage.metrics().pair("lifetime", "wan0") == (0, sent)


def test_a_device_that_is_metered_again_counts_from_the_reload_on(cable, exporter, tmp_path):
    near, far = cable
    slow = "sampling: { interval: 60s }\n"
    netusage = exporter(near, write(tmp_path, slow + "devices: { exclude: [lo, wan0] }\n"), "--web.enable-lifecycle")
    near.send("10.0.0.2")
    write(tmp_path, slow)
    assert netusage.get("/-/reload", method="POST").status == 200
    sent = near.send("10.0.0.2", packets=7)
    shown = netusage.metrics()
    assert shown.pair("lifetime", "wan0") == (0, sent)
    assert shown["netusage_uplink_lifetime_transmit_bytes"] == sent


def test_another_time_zone_books_the_days_anew_at_once(cable, exporter, tmp_path):
    """Zones on both sides of the date line never have the same date. The bytes move to the new days."""
    near, far = cable
    netusage = exporter(near, write(tmp_path, "timezone: UTC\n"), "--web.enable-lifecycle")
    sent = near.send("10.0.0.2")
    utc = netusage.metrics()["netusage_day_start_timestamp_seconds"]
    for zone in ("Pacific/Kiritimati", "Pacific/Niue", "+05:45", "UTC"):
        write(tmp_path, f'timezone: "{zone}"\n')
        assert netusage.get("/-/reload", method="POST").status == 200
        shown = eventually(lambda: (lambda m: m if (m["netusage_day_start_timestamp_seconds"] == utc) == (zone == "UTC")
                                    else None)(netusage.metrics()))
        assert shown.pair("lifetime", "wan0") == (0, sent)
        day, previous = shown.pair("day", "wan0"), shown.pair("previous_day", "wan0")
        assert day[1] + previous[1] == sent
        sent += near.send("10.0.0.2")
        assert netusage.metrics().pair("lifetime", "wan0") == (0, sent)
    netusage.stop()
    write(tmp_path, "timezone: Asia/Tokyo\n")
    assert exporter(near, f"--config.file={tmp_path}/netusage.yaml").metrics().pair("lifetime", "wan0") == (0, sent)


def test_the_zone_file_is_read_again_when_it_changes(cable, exporter, tmp_path):
    near, far = cable
    zone = tmp_path / "localtime"
    database = "/usr/share/zoneinfo/"
    zone.write_bytes(open(database + "Asia/Tokyo", "rb").read())
    netusage = exporter(near, environment={"TZ": f":{zone}"})
    sent = near.send("10.0.0.2")
    tokyo = netusage.metrics()["netusage_day_start_timestamp_seconds"]
    assert tokyo % 86400 == 15 * 3600
    new = tmp_path / "new"
    new.write_bytes(open(database + "Asia/Kathmandu", "rb").read())
    new.rename(zone)
    eventually(lambda: netusage.metrics()["netusage_day_start_timestamp_seconds"] % 86400 == 18 * 3600 + 15 * 60)
    assert netusage.metrics().pair("lifetime", "wan0") == (0, sent)


def test_a_zone_file_that_is_gone_is_told_once_and_its_zone_goes_on(cable, exporter, tmp_path):
    near, far = cable
    zone = tmp_path / "localtime"
    database = "/usr/share/zoneinfo/"
    zone.write_bytes(open(database + "Asia/Tokyo", "rb").read())
    (tmp_path / "fast.yaml").write_text("sampling: { interval: 100ms }\n")
    netusage = exporter(near, f"--config.file={tmp_path}/fast.yaml", environment={"TZ": f":{zone}"})
    zone.unlink()
    eventually(lambda: "the previous zone stays in use" in netusage.log)
    time.sleep(6)  # netusage looks at the file every five seconds.
    assert netusage.log.count("the previous zone stays in use") == 1
    assert netusage.metrics()["netusage_day_start_timestamp_seconds"] % 86400 == 15 * 3600
    zone.write_bytes(open(database + "Asia/Kathmandu", "rb").read())
    eventually(lambda: netusage.metrics()["netusage_day_start_timestamp_seconds"] % 86400 == 18 * 3600 + 15 * 60)


def test_of_two_reloads_the_last_one_holds(cable, exporter, tmp_path):
    near, far = cable
    netusage = exporter(near, write(tmp_path, "timezone: UTC\n"), "--web.enable-lifecycle")
    sent = near.send("10.0.0.2")
    for _ in range(20):
        for zone in ("Asia/Tokyo", "Asia/Kathmandu", "UTC", "Asia/Kathmandu"):
            write(tmp_path, f"timezone: {zone}\n")
            assert netusage.get("/-/reload", method="POST").status == 200
    eventually(lambda: netusage.metrics()["netusage_day_start_timestamp_seconds"] % 86400 == 18 * 3600 + 15 * 60)
    shown = netusage.metrics()
    assert shown.pair("day", "wan0")[1] + shown.pair("previous_day", "wan0")[1] == sent


def commits_go_on(netusage):
    """Whether commits go on: the watch still wakes the meter, and the meter's bookings still reach the disk."""
    name = "netusage_ledger_last_commit_timestamp_seconds"
    former = netusage.metrics()[name]
    return eventually(lambda: netusage.metrics()[name] > former + 2)


FAST = "storage: { flush_interval: 1s }\n"


def test_a_configuration_whose_file_system_doesnt_answer_stops_nothing(cable, exporter, tmp_path):
    netusage = exporter(cable[0], write(tmp_path, FAST), "--web.enable-lifecycle", environment=stuck(tmp_path))
    reloads = "netusage_config_last_reload_successful"
    (tmp_path / "stuck").write_text(f"0 {tmp_path}/netusage.yaml")
    netusage.signal(signal.SIGHUP)
    time.sleep(1)
    # A client that asks for a reload gets an answer nevertheless.
    answer = netusage.get("/-/reload", method="POST", timeout=20)
    assert answer.status == 500 and b"doesn't answer" in answer.body
    assert netusage.log.count("doesn't answer") == 1 and netusage.metrics()[reloads] == 0
    assert commits_go_on(netusage)
    # A file that was written meanwhile takes effect as soon as netusage can read it.
    write(tmp_path, FAST + "metrics: { addresses: false }\n")
    assert netusage.get("/-/reload", method="POST", timeout=2).status == 500
    assert "netusage_device_address_info" in netusage.metrics().text
    (tmp_path / "stuck").write_text("")
    eventually(lambda: "netusage_device_address_info" not in netusage.metrics().text)
    assert netusage.metrics()[reloads] == 1
    assert netusage.get("/-/reload", method="POST").status == 200
    (tmp_path / "stuck").write_text(f"0 {tmp_path}/netusage.yaml")
    netusage.signal(signal.SIGHUP)
    time.sleep(1)
    netusage.stop()


def test_a_zone_file_whose_file_system_doesnt_answer_stops_nothing(cable, exporter, tmp_path):
    zone = tmp_path / "localtime"
    zone.write_bytes(open("/usr/share/zoneinfo/Asia/Tokyo", "rb").read())
    netusage = exporter(cable[0], write(tmp_path, FAST), environment={"TZ": f":{zone}", **stuck(tmp_path)})
    (tmp_path / "stuck").write_text(f"0 {zone}")
    eventually(lambda: "doesn't answer" in netusage.log, 20)
    assert str(zone) in netusage.log
    assert commits_go_on(netusage)
    zone.write_bytes(open("/usr/share/zoneinfo/Asia/Kathmandu", "rb").read())
    (tmp_path / "stuck").write_text("")
    eventually(lambda: netusage.metrics()["netusage_day_start_timestamp_seconds"] % 86400 == 18 * 3600 + 15 * 60)
    (tmp_path / "stuck").write_text(f"0 {zone}")
    time.sleep(6)
    netusage.stop()


def test_wrong_flags_are_explained(tmp_path):
    for flags, expected in ((["--web.listen-address=nonsense"], "host:port"), (["--log.level=loud"], "log.level"),
                            (["--web.max-requests=-1"], "web.max-requests"), (["--no-such-flag"], "no-such-flag"),
                            (["--web.telemetry-path=metrics"], "/metrics")):
        done = subprocess.run([BINARY, "serve", *flags], capture_output=True, text=True, timeout=20)
        assert done.returncode == 64 and expected in done.stderr, (flags, done.stderr)
    shown = subprocess.run([BINARY, "--version"], capture_output=True, text=True)
    assert shown.stdout.startswith("netusage, version ")


def test_what_a_wrong_flag_is_told_to_write_works(cable, exporter, tmp_path):
    near, _ = cable
    for flag, wrong, proposal in (("--web.listen-address", "nonsense", r"such as (\S+) or (\S+), or (\S+) for every address"),
                                  ("--web.listen-address", "*:10077", r"write (\S+) for every address"),
                                  ("--web.telemetry-path", "metrics", r"such as (\S+), not"), ("--web.max-requests", "-1", r"write (\d+) or more"),
                                  ("--web.external-url", "meter.example", r"such as (\S+)")):
        done = subprocess.run([BINARY, "serve", f"{flag}={wrong}"], capture_output=True, text=True, timeout=20)
        assert done.returncode == 64, done.stderr
        for value in re.search(proposal, done.stderr).groups():
            if value == "[::1]:10073":
                continue  # IPv6 is off in the tests' namespaces.
            port = int(value.rpartition(":")[2]) if flag == "--web.listen-address" else 10073
            # Of an option that can't be repeated, the last value counts. --web.listen-address can be repeated, so it would add an address.
            netusage = exporter(near, *([] if flag == "--web.listen-address" else [f"{flag}={value}"]), port=port, host="" if value[0] == ":" else "127.0.0.1")
            assert netusage.get("/-/ready").status == 200
            netusage.stop()


def test_what_a_start_that_fails_is_told_to_do_works(cable, exporter, tmp_path):
    near, _ = cable
    # The ledger's path is a directory.
    netusage = exporter(near, ledger=tmp_path, wait=False)
    assert netusage.process.wait(20 * PATIENCE) == 1 and "name a file in it with --storage.path" in netusage.log
    netusage = exporter(near, ledger=tmp_path / "file.db")
    # Another netusage has the address, and then the ledger.
    second = exporter(near, ledger=tmp_path / "second.db", wait=False)
    assert second.process.wait(20 * PATIENCE) == 1 and "name another --web.listen-address" in second.log
    second = exporter(near, ledger=tmp_path / "file.db", port=10074, wait=False)
    assert second.process.wait(20 * PATIENCE) == 1 and "give this one a ledger of its own with --storage.path" in second.log
    exporter(near, ledger=tmp_path / "second.db", port=10074).stop()
    netusage.stop()
    # There are too few file descriptors.
    netusage = exporter(near, prefix=("prlimit", "--nofile=20"), wait=False)
    assert netusage.process.wait(20 * PATIENCE) == 1
    enough = re.search(r"ulimit -n, LimitNOFILE=\) to (\d+) or more", netusage.log)[1]
    exporter(near, prefix=("prlimit", f"--nofile={enough}")).stop()


def test_the_examples_of_the_readme_and_the_manual_are_good(tmp_path):
    def examples(*names):
        return [block for name in names for block in re.findall(r"```yaml\n(.*?)```", (ROOT / name).read_text(), re.S)
                if "scrape_configs" not in block and "basic_auth_users" not in block]  # test_security.py tests web-config files.

    readme = examples("README.md")
    manual = examples("deploy/manual/configuration.md", "deploy/manual/plans.md")
    assert len(readme) == 1 and len(manual) == 3
    # The first two are parts of one file.
    for block in [*readme, *manual, "".join(manual[:2])]:
        file = tmp_path / "netusage.yaml"
        file.write_text(block)
        done = subprocess.run([BINARY, "config", "check", file], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
