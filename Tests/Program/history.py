"""Days of real scrapes in a minute: the real program under a clock that is set on between them, as blocks for a real Prometheus."""

import time

from support import FakeClock, run


class History:
    """Scrapes netusage at faked moments and notes what it showed then."""

    def __init__(self, directory):
        self.clock = FakeClock(directory)
        self.path = directory / "history.om"
        self.file = open(self.path, "w")

    def set(self, moment):
        self.clock.set(int(moment - time.time()))

    def scrape(self, exporter, moment, instance):
        """One scrape, with the moment at which Prometheus would have made it. The clock must have been set there."""
        body = exporter.get("/metrics").body.decode()
        labels = f'job="netusage",instance="{instance}"'
        for line in body.splitlines():
            if not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                name, brace, rest = series.partition("{")
                self.file.write(f"{name}{{{labels}{',' + rest if brace else '}'} {value} {int(moment)}\n")
        self.file.write(f"up{{{labels}}} 1 {int(moment)}\n")

    def blocks(self, directory):
        """Makes Prometheus's blocks of it."""
        self.file.write("# EOF\n")
        self.file.close()
        directory.mkdir(exist_ok=True)
        run("promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=2160h", self.path, directory)
