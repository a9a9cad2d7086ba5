"""How much of each plan is used, what it costs, and how its cycle will end."""

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
    bargauge("Used", "What share of each limit is used in the open cycle.", "percentunit",
             [now(f"{quota('used_bytes')} / {quota('limit_bytes')}", NAME)], (8, 6), defaults=SHARE),
    table("Quotas", "Each quota in its open cycle. Projected: the expected use at the end of the cycle. Limit reached: empty if the "
          "forecast stays below the limit, or if the limit is reached already.", ["instance", "quota"],
          [("Used", quota("used_bytes"), "decbytes"), ("Limit", quota("limit_bytes"), "decbytes"),
           ("Projected", quota("projected_bytes"), "decbytes"), ("Limit reached", f"{quota('exhaustion_timestamp_seconds')} * 1000", "dateTimeAsLocal"),
           ("Cycle ends in", TO_COME, "s"), ("Breaches", quota("breaches_total"), "short")], (16, 6), sort="Used"),

    timeseries("What is left", "What is left of each limit. The dashed line shows an even pace through the cycle: below it, the quota is used too "
               "fast.", "decbytes",
               [query(LEFT, NAME),
                query(f"{quota('limit_bytes')} * {TO_COME} / ({quota('cycle_end_timestamp_seconds')} - "
                      f"{quota('cycle_start_timestamp_seconds')})", "even pace: " + NAME)], (12, 9),
               overrides=[override("even pace: .*", regex=True, custom__lineStyle={"fill": "dash", "dash": [8, 8]}, custom__fillOpacity=0)],
               defaults={"min": 0}),
    timeseries("Projection", "What was used. The dashed line is the use that was expected for the cycle's end: if it is flat, the forecast is good.", "decbytes",
               [query(quota("used_bytes"), NAME), query(quota("projected_bytes"), "projected: " + NAME),
                query(quota("limit_bytes"), "limit: " + NAME)], (12, 9), fill=0,
               overrides=[override("projected: .*", regex=True, custom__lineStyle={"fill": "dash", "dash": [8, 8]}),
                          override("limit: .*", regex=True, custom__lineStyle={"fill": "dot", "dash": [2, 6]})],
               defaults={"min": 0}),

    states("States", "The state of each quota: fine, warned (a threshold is reached) or breached (the limit is reached).",
           [query(f"2 * (max by (instance, quota) ({quota('breached')}) == 1) or "
                  f"max by (instance, quota) ({quota('threshold_reached')}) == 1 or "
                  f"max by (instance, quota) ({quota('breached')})", NAME)], (12, 5),
           words(_0=("fine", GREEN), _1=("warned", ORANGE), _2=("breached", RED))),
    bargauge("Safe per day", "What you can use each day from now on without reaching the limit in this cycle. On the last day, it is all "
             "that is left.", "decbytes", [now(f"{LEFT} / clamp_min({TO_COME} / 86400, 1)", NAME)], (6, 5),
             defaults={"min": 0, "color": {"mode": "fixed", "fixedColor": BLUE}}),
    stat("Cost", "What each quota has cost so far in its open cycle, if the configuration has a price.", "none",
         [now(quota("cost"), "{{quota}}: {{currency}}")], (6, 5), defaults={"decimals": 2}, named=True),

    timeseries("95th percentile", "For each committed rate, the 95th percentile of the cycle so far: the provider bills it. The dashed line is what you bought.",
               "bps", [query(f"8 * netusage_committed_rate_p95_bytes_per_second{{{PLANS}}}", COMMITTED),
                       query(f"8 * netusage_committed_rate_bytes_per_second{{{PLANS}}}", "bought: " + COMMITTED)], (12, 7),
               overrides=[override("bought: .*", regex=True, custom__lineStyle={"fill": "dash", "dash": [8, 8]}, custom__fillOpacity=0)],
               defaults={"min": 0}),
    bargauge("Burst left", "How much longer you may exceed each committed rate in this cycle before the 95th percentile of the cycle exceeds it, too.", "s",
             [now(f"netusage_committed_rate_burst_remaining_seconds{{{PLANS}}}", COMMITTED)], (6, 7),
             defaults={"min": 0, "color": {"mode": "thresholds"}, "thresholds": thresholds((RED, None), (ORANGE, 1), (GREEN, 7200))}),
    states("Rate limits", "Whether each rate limit was exceeded for longer than its plan allows.",
           [query(f"netusage_rate_limit_breached{{{PLANS}}}", "{{rate_limit}} on {{instance}}")], (6, 7),
           words(_0=("kept", GREEN), _1=("exceeded", RED))),
]

DASHBOARD = dashboard(
    "netusage-quotas", "netusage: Quotas and billing", "How much of each plan is used, what it costs, and how its cycle will end.",
    [*machines(), variable("quota", f"label_values(netusage_quota_limit_bytes{{{PLANS}}}, quota)")],
    PANELS, "now-30d")
