#!/usr/bin/env python3
"""A demonstration on the loopback address: netusage with a small quota, Prometheus, Alertmanager and traffic that breaches it.

`make demo` runs it. What Alertmanager sends arrives here and is printed. Ctrl-C ends all of it. Of the packages that `make demo`
installs, Debian starts services of their own, at ports 9090 and 9093; the demonstration has others.
"""

import http.server
import itertools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

DEPLOY = pathlib.Path(__file__).resolve().parent
# Not the usual ones, which Debian's services may have.
NETUSAGE, PROMETHEUS, ALERTMANAGER, WEBHOOK = 10083, 10090, 10093, 10094
QUOTA = """
devices: { exclude: [] }
quotas:
  - { name: demo, count: [lo], direction: transmit, limit: 2 MB, warn_at: [50%], cycle: { every: month } }
"""
COLORS = {"critical": "31", "warning": "33", "over": "32"} if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else {}


def say(text, color=None):
    code = COLORS.get(color)
    print(f"\033[{code}m{text}\033[0m" if code else text, flush=True)


def printable(text):
    """A text from elsewhere, without what would steer the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))


class Webhook(http.server.BaseHTTPRequestHandler):
    """Prints what Alertmanager tells."""

    timeout = 5  # Of a connection that says nothing, in seconds.

    def do_POST(self):
        try:
            told = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), 1 << 20)))
        except (TypeError, ValueError):
            return self.send_error(400)
        self.send_response(200)
        self.end_headers()
        for alert in told["alerts"]:
            fires = alert["status"] == "firing"
            kind = alert["labels"]["severity"] if fires else "over"
            say(f"\n{time.strftime('%H:%M:%S')}  {printable(kind.upper())}  {printable(alert['annotations']['summary'])}", kind)
            if fires:
                say(f"          {printable(alert['annotations']['description'])}")

    def log_message(self, *_):
        pass


def webhook(port):
    """A server for notifications, which runs."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def changed(path, *replacements):
    """A shipped file's text with other ports and shorter waits."""
    text = (DEPLOY / path).read_text()
    for old, new in replacements:
        assert old in text, f"{path} has no {old}"
        text = text.replace(old, new)
    return text


def lay_out(directory):
    """The shipped configuration, for this place and this minute."""
    for path in [*(DEPLOY / "prometheus").glob("*.rules.yml"), DEPLOY / "alertmanager" / "netusage.tmpl"]:
        shutil.copy(path, directory)
    (directory / "netusage.yaml").write_text(QUOTA)
    (directory / "prometheus.yml").write_text(changed(
        "prometheus/prometheus.yml", ("127.0.0.1:10073", f"127.0.0.1:{NETUSAGE}"), ("127.0.0.1:9093", f"127.0.0.1:{ALERTMANAGER}"),
        ("scrape_interval: 15s", "scrape_interval: 2s"), ("evaluation_interval: 15s", "evaluation_interval: 2s")))
    (directory / "alertmanager.yml").write_text(changed(
        "alertmanager/alertmanager.yml", ("127.0.0.1:10074", f"127.0.0.1:{WEBHOOK}"), ("group_wait: 30s", "group_wait: 1s"),
        ("group_interval: 5m", "group_interval: 5s")))


def commands(binary, directory):
    return {
        "netusage": [binary, "serve", f"--config.file={directory}/netusage.yaml", f"--storage.path={directory}/ledger.db",
                     f"--web.listen-address=127.0.0.1:{NETUSAGE}"],
        "Prometheus": ["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/prometheus",
                       f"--web.listen-address=127.0.0.1:{PROMETHEUS}", f"--web.console.templates={DEPLOY}/prometheus/consoles",
                       f"--web.console.libraries={DEPLOY}/prometheus/consoles"],
        "Alertmanager": ["prometheus-alertmanager", f"--config.file={directory}/alertmanager.yml",
                         f"--storage.path={directory}/alertmanager", f"--web.listen-address=127.0.0.1:{ALERTMANAGER}",
                         "--cluster.listen-address="],
    }


def require_free(*ports):
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                sys.exit(f"demo: something else listens at 127.0.0.1:{port}; end it, then try again")


def carry(processes, directory):
    """Sends 50 kB a second from loopback to loopback for a minute, more than the quota has; then just waits."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
        sink.bind(("127.0.0.1", 0))
        for second in itertools.count():
            for name, process in processes.items():
                if process.poll() is not None:
                    sys.exit(f"demo: {name} has ended:\n{(directory / (name + '.log')).read_text()}")
            if second < 60:
                for _ in range(50):
                    source.sendto(bytes(1000), sink.getsockname())
            time.sleep(1)


def main():
    if len(sys.argv) != 2 or not os.access(sys.argv[1], os.X_OK):
        sys.exit("demo: name the netusage binary: python3 deploy/demo.py .build/release/netusage (or run `make demo`)")
    require_free(NETUSAGE, PROMETHEUS, ALERTMANAGER, WEBHOOK)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    processes = {}
    with tempfile.TemporaryDirectory(prefix="netusage-demo-") as name:
        directory = pathlib.Path(name)
        lay_out(directory)
        webhook(WEBHOOK)
        try:
            for name, command in commands(os.path.abspath(sys.argv[1]), directory).items():
                with open(directory / f"{name}.log", "w") as log:
                    # A session of its own, so that Ctrl-C reaches only us, and we end them in order.
                    processes[name] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            say(f"""A quota of 2 MB a month on lo, and 50 kB a second to use it up: a warning within half a minute, the breach within one.

    metrics       http://127.0.0.1:{NETUSAGE}/metrics
    a page        http://127.0.0.1:{PROMETHEUS}/consoles/netusage.html
    Prometheus    http://127.0.0.1:{PROMETHEUS}/alerts
    Alertmanager  http://127.0.0.1:{ALERTMANAGER}

Lift the breach from another terminal, and it is told that it is over:

    {os.path.relpath(sys.argv[1])} quota top-up demo "1 GB" --storage.path={directory}/ledger.db

Ctrl-C ends all of it. Notifications:""")
            carry(processes, directory)
        except KeyboardInterrupt:
            say("\nThe end.")
        finally:
            for process in reversed(processes.values()):
                process.terminate()
            for process in processes.values():
                process.wait()


if __name__ == "__main__":
    main()
