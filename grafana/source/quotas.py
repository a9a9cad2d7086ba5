"""What is used of each plan, what it costs, and how it will end."""

from panels import *

QUOTAS = 'job=~"$job",instance=~"$instance",quota=~"$quota"'
PLANS = 'job=~"$job",instance=~"$instance"'
NAME = "{{quota}} on {{instance}}"


def quota(family):
    return f"netusage_quota_{family}{{{QUOTAS}}}"


LEFT = f"clamp_min({quota('limit_bytes')} - {quota('used_bytes')}, 0)"
TO_COME = f"({quota('cycle_end_timestamp_seconds')} - time())"
SHARE = {"min": 0, "max": 1, "color": {"mode": "thresholds"}, "thresholds": thresholds((GREEN, None), (ORANGE, 0.8), (RED, 1))}
COMMITTED = "{{committed_rate}} on {{instance}}"

PANELS = [
    bargauge("Used", "What share of each limit is used in its cycle.", "percentunit",
             [now(f"{quota('used_bytes')} / {quota('limit_bytes')}", NAME)], (8, 6), defaults=SHARE),
    table("Quotas", "In the cycle of each. It is projected what will be used at the cycle's end; the limit is reached at a time only if "
          "that is before it.", ["instance", "quota"],
          [("Used", quota("used_bytes"), "decbytes"), ("Limit", quota("limit_bytes"), "decbytes"),
           ("Projected", quota("projected_bytes"), "decbytes"), ("Limit reached", f"{quota('exhaustion_timestamp_seconds')} * 1000", "dateTimeAsLocal"),
           ("Cycle ends in", TO_COME, "s"), ("Breaches", quota("breaches_total"), "short")], (16, 6), sort="Used"),

    timeseries("What is left", "What is left of each limit, and dashed what would be if use were even through the cycle: below that line "
               "is too fast.", "decbytes",
               [query(LEFT, NAME),
                query(f"{quota('limit_bytes')} * {TO_COME} / ({quota('cycle_end_timestamp_seconds')} - "
                      f"{quota('cycle_start_timestamp_seconds')})", "even pace: " + NAME)], (12, 9),
               overrides=[override("even pace: .*", regex=True, custom__lineStyle={"fill": "dash", "dash": [8, 8]}, custom__fillOpacity=0)],
               defaults={"min": 0}),
    timeseries("Projection", "What was used, and dashed what was expected for the cycle's end: a flat line is a good forecast.", "decbytes",
               [query(quota("used_bytes"), NAME), query(quota("projected_bytes"), "projected: " + NAME),
                query(quota("limit_bytes"), "limit: " + NAME)], (12, 9), fill=0,
               overrides=[override("projected: .*", regex=True, custom__lineStyle={"fill": "dash", "dash": [8, 8]}),
                          override("limit: .*", regex=True, custom__lineStyle={"fill": "dot", "dash": [2, 6]})],
               defaults={"min": 0}),

    states("States", "Fine, warned (a threshold is reached) or breached.",
           [query(f"2 * (max by (instance, quota) ({quota('breached')}) == 1) or "
                  f"max by (instance, quota) ({quota('threshold_reached')}) == 1 or "
                  f"max by (instance, quota) ({quota('breached')})", NAME)], (12, 5),
           words(_0=("fine", GREEN), _1=("warned", ORANGE), _2=("breached", RED))),
    bargauge("Safe per day", "What can be used on each of the days to come without reaching the limit; in the cycle's last day all that "
             "is left.", "decbytes", [now(f"{LEFT} / clamp_min({TO_COME} / 86400, 1)", NAME)], (6, 5),
             defaults={"min": 0, "color": {"mode": "fixed", "fixedColor": BLUE}}),
    stat("Cost", "What each cycle has cost so far, where the configuration has a price.", "none",
         [now(quota("cost"), "{{quota}}: {{currency}}")], (6, 5), defaults={"decimals": 2}, named=True),

    timeseries("95th percentile", "Committed rates: the percentile that is billed, as it stood at each time in its cycle, and dashed what is bought.",
               "bps", [query(f"8 * netusage_committed_rate_p95_bytes_per_second{{{PLANS}}}", COMMITTED),
                       query(f"8 * netusage_committed_rate_bytes_per_second{{{PLANS}}}", "bought: " + COMMITTED)], (12, 7),
               overrides=[override("bought: .*", regex=True, custom__lineStyle={"fill": "dash", "dash": [8, 8]}, custom__fillOpacity=0)],
               defaults={"min": 0}),
    bargauge("Burst left", "How much longer each committed rate may be exceeded in its cycle before its percentile is.", "s",
             [now(f"netusage_committed_rate_burst_remaining_seconds{{{PLANS}}}", COMMITTED)], (6, 7),
             defaults={"min": 0, "color": {"mode": "thresholds"}, "thresholds": thresholds((RED, None), (ORANGE, 1), (GREEN, 7200))}),
    states("Rate limits", "Whether each was exceeded for longer than its plan allows.",
           [query(f"netusage_rate_limit_breached{{{PLANS}}}", "{{rate_limit}} on {{instance}}")], (6, 7),
           words(_0=("kept", GREEN), _1=("exceeded", RED))),
]

DASHBOARD = dashboard(
    "netusage-quotas", "netusage: Quotas and billing", "What is used of each plan, what it costs, and how it will end.",
    [*machines(), variable("quota", f"label_values(netusage_quota_limit_bytes{{{PLANS}}}, quota)")],
    PANELS, "now-30d")
