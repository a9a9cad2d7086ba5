"""Writes the JSON of the dashboards: `python3 grafana/source/build.py [DIRECTORY]`, by default to grafana/dashboards."""

import json
import pathlib
import sys

import applications
import fleet
import overview
import quotas


def main():
    directory = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1] / "dashboards"
    for dashboard in (overview.DASHBOARD, quotas.DASHBOARD, applications.DASHBOARD, fleet.DASHBOARD):
        (directory / f"{dashboard['uid']}.json").write_text(json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n")


main()
