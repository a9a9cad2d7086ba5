"""Debian's Prometheus and Alertmanager in a namespace, with the files that netusage ships, and a webhook for the notifications."""

import contextlib
import http.client
import http.server
import json
import pathlib
import subprocess
import threading
import urllib.parse

from support import PATIENCE, ROOT, ended_on_error, eventually

DEPLOY = ROOT / "deploy"


class Server:
    """A program that runs in a namespace until it is closed."""

    def __init__(self, namespace, directory, port, ready, *command):
        self.namespace, self.port, self.ready = namespace, port, ready
        self.log_path = directory / f"{pathlib.Path(command[0]).name}.log"
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(["ip", "netns", "exec", namespace.name, *map(str, command)], stdout=log, stderr=log)
        with ended_on_error(self.process):
            eventually(self.answers, 30)

    def answers(self):
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.log_path.read_text()}"
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.namespace.get(self.port, self.ready).status == 200
        return False

    def get(self, path, timeout=10):
        answer = self.namespace.get(self.port, path, timeout=timeout)
        assert answer.status == 200, f"{path}: {answer.status} {answer.body.decode()}"
        return answer.body.decode()

    @property
    def complaints(self):
        return [line for line in self.log_path.read_text().splitlines() if "level=warn" in line or "level=error" in line]

    def close(self):
        self.process.terminate()
        self.process.wait(30 * PATIENCE)


class Prometheus(Server):
    """`configuration` is the text of Prometheus's file. `files` are copied to the same directory."""

    def __init__(self, namespace, directory, configuration, files=(), flags=()):
        for path in files:
            (directory / path.name).write_bytes(path.read_bytes())
        (directory / "prometheus.yml").write_text(configuration)
        super().__init__(
            namespace, directory, 9090, "/-/ready", "prometheus", f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data", "--web.listen-address=127.0.0.1:9090", *flags)

    def ask(self, expression, **when):
        """The result of a query at one moment, or over a span if you give start, end and step."""
        where = "query_range" if "step" in when else "query"
        answer = self.get(f"/api/v1/{where}?" + urllib.parse.urlencode({"query": expression, **when}), timeout=60)
        return json.loads(answer)["data"]["result"]

    def query(self, expression):
        """The result of an instant query, as {labels: value}."""
        return {tuple(sorted(each["metric"].items())): float(each["value"][1]) for each in self.ask(expression)}

    def alerts(self):
        """The names of the alerts that fire now."""
        found = json.loads(self.get("/api/v1/alerts"))["data"]["alerts"]
        return sorted(each["labels"]["alertname"] for each in found if each["state"] == "firing")


class Alertmanager(Server):
    def __init__(self, namespace, directory, configuration, files=()):
        for path in files:
            (directory / path.name).write_bytes(path.read_bytes())
        (directory / "alertmanager.yml").write_text(configuration)
        super().__init__(
            namespace, directory, 9093, "/-/ready", "prometheus-alertmanager", f"--config.file={directory}/alertmanager.yml",
            f"--storage.path={directory}/alertmanager", "--web.listen-address=127.0.0.1:9093", "--cluster.listen-address=")


class Webhook:
    """Keeps what Alertmanager posts to 127.0.0.1:10074 in a namespace."""

    def __init__(self, namespace):
        heard = self.heard = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        with namespace.entered():
            self.server = http.server.HTTPServer(("127.0.0.1", 10074), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def notifications(self):
        """The (status, name of the alert) of each notification so far."""
        return [(each["status"], each["groupLabels"]["alertname"]) for each in self.heard]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def shipped(path, **replacements):
    """The text of a shipped file with other intervals, such as `scrape_interval="1s"`. Fails if the file has no such key."""
    text = (DEPLOY / path).read_text()
    for key, value in replacements.items():
        lines = [line for line in text.splitlines() if line.strip().startswith(f"{key}: ")]
        assert lines, f"{path} has no {key}"
        for line in lines:
            text = text.replace(line, line[:line.index(":")] + f": {value}")
    return text
