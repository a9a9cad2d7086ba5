"""What each application carried, and what was the internet's at all."""

from panels import *

MACHINES = 'job=~"$job",instance=~"$instance"'
APPLICATIONS = MACHINES + ',application=~"$application"'
NAME = "{{application}} on {{instance}}"
# What goes through a tunnel is the uplink's a second time, as the tunnel's own packets.
OF_UPLINK = ',scope!="tunnel"'


def carried(period, more=""):
    """What each application carried in a period, in both directions."""
    return " + ".join(
        f"sum by (instance, application) (netusage_application_{period}_{direction}_bytes{{{APPLICATIONS}{more}}})"
        for direction in ("receive", "transmit"))


def rate(direction):
    return (f"topk(10, sum by (instance, application) (rate(netusage_application_{direction}_bytes_total{{{APPLICATIONS}}}"
            "[$__rate_interval])))")


def scope(direction):
    return f"sum by (scope) (rate(netusage_uplink_scope_{direction}_bytes_total{{{MACHINES}}}[$__rate_interval]))"


PANELS = [
    bargauge("This month", "The ten applications that carried most since the 1st, in both directions. (unattributed) is what the uplink carried for "
             "no application here: forwarded, not IP, or from a time in which applications weren't metered.", "decbytes",
             [now(f"sort_desc(topk(10, {carried('month', OF_UPLINK)}))", NAME)], (12, 10), defaults={"min": 0, "color": {"mode": "fixed", "fixedColor": BLUE}}),
    bargauge("Today", "The ten applications that carried most since local midnight, in both directions.", "decbytes",
             [now(f"sort_desc(topk(10, {carried('day', OF_UPLINK)}))", NAME)], (12, 10), defaults={"min": 0, "color": {"mode": "fixed", "fixedColor": BLUE}}),

    timeseries("Receiving", "The rates at which the ten busiest applications receive.", "Bps", [query(rate("receive"), NAME)], (12, 9), stacked=True),
    timeseries("Sending", "The rates at which the ten busiest applications send.", "Bps", [query(rate("transmit"), NAME)], (12, 9), stacked=True),

    timeseries("Internet and local network", "What passes the uplink by where the other end is, in both directions. It needs Linux 6.6 or later.", "Bps",
               [query(f"{scope('receive')} + {scope('transmit')}", "{{scope}}")], (12, 9), stacked=True),
    table("Months", "What each application carried over the uplink in this month and in the one before, on the internet alone and in all.", ["instance", "application"],
          [("Internet", carried("month", ',scope="internet"'), "decbytes"), ("All", carried("month", OF_UPLINK), "decbytes"),
           ("Last month", carried("previous_month", OF_UPLINK), "decbytes")], (12, 9), sort="All"),

    states("Metered", "Whether applications are metered. Meanwhile the bytes of programs count as unattributed.",
           [query(f"netusage_applications_attached{{{MACHINES}}}", "{{instance}}")], (16, 5), words(_0=("not metered", ORANGE), _1=("metered", GREEN))),
    stat("Counters in use", "Of 16,384 counters in the kernel. If they are all in use, further programs count for (other).", "short",
         [now(f"netusage_application_keys{{{MACHINES}}}", "{{instance}}")], (8, 5), named=True),
]

DASHBOARD = dashboard(
    "netusage-applications", "netusage: Applications", "What each application carried, and what was the internet's at all.",
    [*machines(), variable("application", f"label_values(netusage_application_month_receive_bytes{{{MACHINES}}}, application)")],
    PANELS, "now-24h")
