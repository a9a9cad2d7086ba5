"""Bars for local days and months, from gauges that begin again at 0 at local midnight.

Grafana and PromQL cut time into equal steps of UTC, so their sums "by day" are an hour or more off. netusage knows when its own days
begin and what each day's total is, so the queries use that. At the first step within a day, the day's start is at most one step ago.
The day's total is what `previous_day` shows at any time in the next day. All offsets are negative: they look from the day's first step
into the hours after it. Days have 23 to 25 hours, so the next day may begin 22 to 25 hours after that step.
"""


def totals(selector, family, previous, start, *, step, first, whole, both):
    """The total of each period at its first step, and nothing elsewhere.

    All spans are in hours, counted from that step. `first` ends before the next period can have begun, `whole` when this period
    must have ended, and `both` before the next period can have ended.
    """
    def last(metric, begin, end):
        return f"last_over_time({metric}{{{selector}}}[{end - begin}h] offset -{end}h)"

    # `known` is what the next period shows, if netusage ran at any time in it. Otherwise the last value of this period counts:
    # the period is open, or netusage has been off since.
    known = f"({last(previous, first, both)} and on (job, instance) {last(start, first, both)} > time())"
    total = f"({known} or {last(family, 0, whole)})"
    # When this period began: the last value before the next period can have begun. So a clock that is some seconds off, or was
    # wrong for a while, changes nothing. If the machine ran only in the period's last hours, take the value from there.
    begun = (f"({last(start, 0, first)} or "
             f"min_over_time({start}{{{selector}}}[{whole - first}h] offset -{whole}h))")
    return f"sum without (job, instance) ({total} and on (job, instance) floor((time() - {begun}) / {step * 3600}) == 0)"


def local_days(family, selector):
    """Totals of local days, for a panel with an interval of one hour. PERIOD in `family` stands for the period's name."""
    return totals(selector, family.replace("PERIOD", "day"), family.replace("PERIOD", "previous_day"),
                  "netusage_day_start_timestamp_seconds", step=1, first=22, whole=25, both=45)


def local_months(family, selector):
    """Totals of months, for a panel with an interval of one day. A month has 28 to 31 days, and two months have 59 or more."""
    return totals(selector, family.replace("PERIOD", "month"), family.replace("PERIOD", "previous_month"),
                  "netusage_month_start_timestamp_seconds", step=24, first=27 * 24, whole=32 * 24, both=57 * 24)
