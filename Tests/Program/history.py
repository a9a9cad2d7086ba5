"""Makes days of scrapes within a minute. The real program runs with a fake clock, and the clock is set forward between scrapes.

The result is blocks for a real Prometheus.
"""

import time

from support import FakeClock, run


class History:
    """Scrapes netusage at faked moments, and writes down what it shows."""

    def __init__(self, directory):
        self.clock = FakeClock(directory)
        self.path = directory / "history.om"
        self.file = open(self.path, "w")

    def set(self, moment):
        self.clock.set(int(moment - time.time()))

    def scrape(self, exporter, moment, instance):
        """One scrape, at the moment at which Prometheus would have made it. Call `set` with that moment before."""
        body = exporter.get("/metrics").body.decode()
        labels = f'job="netusage",instance="{instance}"'
        for line in body.splitlines():
            if not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                name, brace, rest = series.partition("{")
                self.file.write(f"{name}{{{labels}{',' + rest if brace else '}'} {value} {int(moment)}\n")
        self.file.write(f"up{{{labels}}} 1 {int(moment)}\n")

    def blocks(self, directory):
        """Makes blocks for Prometheus from the scrapes."""
        self.file.write("# EOF\n")
        self.file.close()
        directory.mkdir(exist_ok=True)
        run("promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=2160h", self.path, directory)
