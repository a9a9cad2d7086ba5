"""One machine's traffic: now, today, this month, by device."""

from panels import *
from periods import local_days, local_months

HERE = 'job=~"$job",instance="$instance"'
DEVICES = HERE + ',device=~"$device"'
QUOTAS = HERE + ',quota=~"$quota"'


def uplink(family):
    return f"netusage_uplink_{family}{{{HERE}}}"


def both(family):
    """The sum of both directions. DIRECTION in `family` is replaced by their names."""
    return " + ".join(f"netusage_{family.replace('DIRECTION', direction)}" for direction in ("receive", "transmit"))


def by_device(family):
    return both(f"{family}{{{DEVICES}}}")


PANELS = [
    stat("Receiving", "The rate at which the uplink receives now: the mean over the last sampling interval.", "Bps",
         [query(uplink("receive_bytes_per_second"))], (4, 4), graph=True),
    stat("Sending", "The rate at which the uplink sends now: the mean over the last sampling interval.", "Bps",
         [query(uplink("transmit_bytes_per_second"))], (4, 4), graph=True),
    stat("Today", "What the uplink has carried since local midnight, in both directions.", "decbytes",
         [now(both(f"uplink_day_DIRECTION_bytes{{{HERE}}}"))], (4, 4)),
    stat("Yesterday", "What the uplink carried on the previous local day, in both directions.", "decbytes",
         [now(both(f"uplink_previous_day_DIRECTION_bytes{{{HERE}}}"))], (4, 4)),
    stat("This month", "What the uplink has carried since the 1st, in both directions.", "decbytes",
         [now(both(f"uplink_month_DIRECTION_bytes{{{HERE}}}"))], (4, 4)),
    stat("Last month", "What the uplink carried in the previous calendar month, in both directions.", "decbytes",
         [now(both(f"uplink_previous_month_DIRECTION_bytes{{{HERE}}}"))], (4, 4)),

    timeseries("Uplink", "The uplink's mean rates. Each byte counts once: not in a VPN and again in its carrier, not in a bridge and again in its port.", "Bps",
               [query(f"rate({uplink('receive_bytes_total')}[$__rate_interval])", "Received"),
                query(f"rate({uplink('transmit_bytes_total')}[$__rate_interval])", "Sent")], (16, 8), fill=20),
    bargauge("Quotas", "What share of each quota's limit is used.", "percentunit",
             [now(f"netusage_quota_used_bytes{{{QUOTAS}}} / netusage_quota_limit_bytes{{{QUOTAS}}}", "{{quota}}")], (8, 8),
             defaults={"min": 0, "max": 1, "color": {"mode": "thresholds"},
                       "thresholds": thresholds((GREEN, None), (ORANGE, 0.8), (RED, 1))}),

    bars("Each day", "What the uplink carried on each local day, from midnight to midnight in the machine's time zone, also when clocks change. Bars "
         "reach as far back as Prometheus keeps data. If netusage didn't run at all on the next day, a bar shows only what was counted when it "
         "ran last. The dates are right if Grafana shows times in the machine's zone.", "decbytes",
         [query(local_days("netusage_uplink_PERIOD_receive_bytes", HERE), "Received"),
          query(local_days("netusage_uplink_PERIOD_transmit_bytes", HERE), "Sent")], (16, 9), "D MMM",
         interval="1h", maxDataPoints=2000, timeFrom="31d"),
    bars("Each month", "What the uplink carried in each calendar month, in the machine's time zone. Bars reach as far back as Prometheus keeps data.",
         "decbytes",
         [query(local_months("netusage_uplink_PERIOD_receive_bytes", HERE), "Received"),
          query(local_months("netusage_uplink_PERIOD_transmit_bytes", HERE), "Sent")], (8, 9), "MMM YYYY",
         interval="1d", maxDataPoints=2000, timeFrom="1y"),

    timeseries("By device", "Each device's mean rate, both directions together. A bridge and its ports show the same bytes twice.", "Bps",
               [query(" + ".join(f"rate(netusage_{direction}_bytes_total{{{DEVICES}}}[$__rate_interval])"
                                 for direction in ("receive", "transmit")), "{{device}}")], (10, 9)),
    table("Devices", "Both directions together. A device that is gone keeps its month, but has no rate.", ["device"],
          [("Now", by_device("DIRECTION_bytes_per_second"), "Bps"), ("Today", by_device("day_DIRECTION_bytes"), "decbytes"),
           ("Week", by_device("week_DIRECTION_bytes"), "decbytes"), ("Month", by_device("month_DIRECTION_bytes"), "decbytes"),
           ("Last month", by_device("previous_month_DIRECTION_bytes"), "decbytes"),
           ("Lifetime", by_device("lifetime_DIRECTION_bytes"), "decbytes")], (14, 9), sort="Month"),

    timeseries("Peaks of the uplink", "The rate of the busiest sampling interval. The mean over a scrape interval can't show such peaks.", "Bps",
               [query(f"max_over_time({uplink('receive_peak_bytes_per_second')}[$__rate_interval])", "Received"),
                query(f"max_over_time({uplink('transmit_peak_bytes_per_second')}[$__rate_interval])", "Sent")], (8, 6), fill=0),
    states("Uplink over time", "Whether there was a usable default route, and which device carried it.",
           [query(f"netusage_online{{{HERE}}} == 0", "offline"), query(f"netusage_device_uplink{{{DEVICES}}} == 1", "{{device}}")],
           (8, 6), words(_0=("offline", RED), _1=("uplink", GREEN))),
    states("Health", "Whether netusage can read the kernel and write its ledger, and whether its last reload of the configuration succeeded.",
           [query(f"netusage_kernel_read_success{{{HERE}}}", "kernel"), query(f"netusage_ledger_up{{{HERE}}}", "ledger"),
            query(f"netusage_config_last_reload_successful{{{HERE}}}", "configuration")],
           (8, 6), words(_0=("failing", RED), _1=("good", GREEN))),
]

DASHBOARD = dashboard(
    "netusage-overview", "netusage: Overview", "What one machine's network interfaces carry, in its own calendar.",
    [*machines(many=False), variable("device", f"label_values(netusage_lifetime_receive_bytes{{{HERE}}}, device)"),
     variable("quota", f"label_values(netusage_quota_limit_bytes{{{HERE}}}, quota)")],
    PANELS, "now-24h")
