"""Bars for local days and months, from gauges that begin anew at local midnight.

Grafana and PromQL cut time into equal steps of UTC, so a sum "by day" of theirs is an hour or more off. netusage knows where its
own days begin and what each came to, so we ask it: at the first step within a day its start is at most one step ago, and the day's
total is what `previous_day` says at any time in the day after. All offsets are negative: they look from the day's first step into
the hours after it. Days have 23 to 25 hours, so the day after may begin 22 to 25 hours after that step.
"""


def totals(selector, family, previous, start, *, step, first, whole, both):
    """The total of each period at its first step, and nothing elsewhere.

    All spans are in hours, counted from that step: `first` ends before any next period has begun, `whole` when this one is over,
    `both` before the next one is.
    """
    def last(metric, begin, end):
        return f"last_over_time({metric}{{{selector}}}[{end - begin}h] offset -{end}h)"

    # What the next period says, at any time that netusage ran in it. Else the last word of this one: it is open, or netusage
    # was off since.
    known = f"({last(previous, first, both)} and on (job, instance) {last(start, first, both)} > time())"
    total = f"({known} or {last(family, 0, whole)})"
    # When this one began, by its last word before any next one can begin: a clock that is some seconds off, or was wrong for a
    # while, doesn't matter. A machine that ran only in its last hours has said it there.
    begun = (f"({last(start, 0, first)} or "
             f"min_over_time({start}{{{selector}}}[{whole - first}h] offset -{whole}h))")
    return f"sum without (job, instance) ({total} and on (job, instance) floor((time() - {begun}) / {step * 3600}) == 0)"


def local_days(family, selector):
    """`family` has PERIOD for the period's name. For a panel with an interval of one hour."""
    return totals(selector, family.replace("PERIOD", "day"), family.replace("PERIOD", "previous_day"),
                  "netusage_day_start_timestamp_seconds", step=1, first=22, whole=25, both=45)


def local_months(family, selector):
    """The same for a panel with an interval of one day. Months have 28 to 31 days, and two of them 59 or more."""
    return totals(selector, family.replace("PERIOD", "month"), family.replace("PERIOD", "previous_month"),
                  "netusage_month_start_timestamp_seconds", step=24, first=27 * 24, whole=32 * 24, both=57 * 24)
