"""Many machines: which ones answer, which ones use most, and what they share."""

from panels import *

ALL = 'job=~"$job",instance=~"$instance"'
QUOTAS = ALL + ',quota=~"$quota"'
SHARE = thresholds((GREEN, None), (ORANGE, 0.8), (RED, 1))


def uplink(period):
    return f"netusage_uplink_{period}receive_bytes{{{ALL}}} + netusage_uplink_{period}transmit_bytes{{{ALL}}}"


def last(what):
    """The last values from the rules, also of machines that are off. Without the rules, the values of machines that are on."""
    return f"(netusage:quota_{what}_bytes:last{{{QUOTAS}}} or netusage_quota_{what}_bytes{{{QUOTAS}}})"


PANELS = [
    stat("Machines", "How many machines Prometheus can scrape, and how many it can't scrape.", "none",
         [now(f'count(up{{{ALL}}} == 1)', "up"), now(f'count(up{{{ALL},job=~"netusage.*"}} == 0) or vector(0)', "down")], (6, 4), named=True,
         overrides=[override("down", color={"mode": "thresholds"}, thresholds=thresholds((GREEN, None), (RED, 1)))]),
    stat("Offline", "Machines without a usable default route.", "none", [now(f"count(netusage_online{{{ALL}}} == 0) or vector(0)")], (6, 4),
         defaults={"color": {"mode": "thresholds"}, "thresholds": thresholds((GREEN, None), (ORANGE, 1))}),
    stat("Quotas breached", "Quotas that have reached their limit, on any machine.", "none",
         [now(f"count(netusage_quota_breached{{{QUOTAS}}} == 1) or vector(0)")], (6, 4),
         defaults={"color": {"mode": "thresholds"}, "thresholds": thresholds((GREEN, None), (RED, 1))}),
    stat("All machines now", "The sum of what all uplinks carry now, in both directions.", "Bps",
         [query(f"sum(netusage_uplink_receive_bytes_per_second{{{ALL}}}) + sum(netusage_uplink_transmit_bytes_per_second{{{ALL}}})")],
         (6, 4), graph=True),

    bargauge("Shared allowances", "What share of the limit is used, for quotas of the same name, added up over all machines. A machine that is off "
             "keeps its last value until its cycle ends.", "percentunit",
             [now('quota:netusage_quota_used_bytes:sum{quota=~"$quota"} / quota:netusage_quota_limit_bytes:max', "{{quota}}")], (8, 6),
             defaults={"min": 0, "max": 1, "color": {"mode": "thresholds"}, "thresholds": SHARE}),
    matrix("Machines and quotas", "What share of each quota each machine has used by itself. A machine that is off shows its last value.",
           "percentunit", f"{last('used')} / {last('limit')}", "instance", "quota", (16, 6),
           defaults={"color": {"mode": "thresholds"}, "thresholds": SHARE}, custom={"cellOptions": {"type": "color-text"}}),

    bargauge("Most today", "The ten machines whose uplinks have carried most since their local midnight.", "decbytes",
             [now(f"sort_desc(topk(10, {uplink('day_')}))", "{{instance}}")], (8, 7),
             defaults={"min": 0, "color": {"mode": "fixed", "fixedColor": BLUE}}),
    bargauge("Most this month", "The ten machines whose uplinks have carried most since the 1st.", "decbytes",
             [now(f"sort_desc(topk(10, {uplink('month_')}))", "{{instance}}")], (8, 7),
             defaults={"min": 0, "color": {"mode": "fixed", "fixedColor": BLUE}}),
    timeseries("Shares of allowances", "How much each machine has used of each shared quota. A machine that is off shows its last value.", "decbytes",
               [query('netusage:quota_used_bytes:last{' + QUOTAS + '}', "{{quota}}: {{instance}}")], (8, 7), stacked=True),

    timeseries("Rates", "The rate of each machine's uplink, both directions together.", "Bps",
               [query(f"rate(netusage_uplink_receive_bytes_total{{{ALL}}}[$__rate_interval]) + "
                      f"rate(netusage_uplink_transmit_bytes_total{{{ALL}}}[$__rate_interval])", "{{instance}}")], (12, 7), stacked=True),
    states("Online", "Whether each machine had a usable default route. Empty while Prometheus couldn't scrape the machine.",
           [query(f"netusage_online{{{ALL}}}", "{{instance}}")], (12, 7), words(_0=("offline", RED), _1=("online", GREEN))),
]

DASHBOARD = dashboard(
    "netusage-fleet", "netusage: Fleet", "Many machines, and the allowances that they share. Prometheus needs both rule files: netusage.rules.yml and netusage-fleet.rules.yml.",
    [*machines(), variable("quota", f"label_values(netusage_quota_limit_bytes{{{ALL}}}, quota)")],
    PANELS, "now-24h")
