"""The parts of the dashboards: functions that make panels in Grafana's JSON, with the settings that all of our panels share."""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, ORANGE, RED, BLUE = "green", "orange", "red", "blue"


def query(expression, legend=None, table=False):
    """A query over the panel's span. With `table`: a query at the end of the span, as rows with a column for each label."""
    when = {"instant": True, "range": False, "format": "table"} if table else {"instant": False, "range": True, "format": "time_series"}
    return {"expr": expression, "legendFormat": legend or "__auto", "editorMode": "code", **when}


def now(expression, legend=None):
    """A query at the end of the span only."""
    return {**query(expression, legend), "instant": True, "range": False}


def thresholds(*steps):
    """thresholds((GREEN, None), (RED, 1)): a colour from each value on."""
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for color, value in steps]}


def words(**texts):
    """words(_0=("offline", RED)): a text and a colour for each value."""
    return [{"type": "value", "options": {
        value.lstrip("_"): {"text": text, "color": color, "index": place} for place, (value, (text, color)) in enumerate(texts.items())}}]


def override(name, *, regex=False, **properties):
    """Other settings for one series or column: override("Received", unit="bytes"); `__` stands for a dot."""
    return {"matcher": {"id": "byRegexp" if regex else "byName", "options": name},
            "properties": [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()]}


def panel(kind, title, description, unit, targets, size, options, *, custom=None, defaults=None, overrides=(), **more):
    """`size` is (width, height) in Grafana's grid of 24 columns; `dashboard` finds the place."""
    return {
        "type": kind, "title": title, "description": description, "datasource": DATASOURCE,
        "gridPos": {"w": size[0], "h": size[1]},
        "targets": [{"refId": chr(ord("A") + place), "datasource": DATASOURCE, **each} for place, each in enumerate(targets)],
        "fieldConfig": {
            "defaults": {"unit": unit, "custom": custom or {}, "color": {"mode": "palette-classic"}, **(defaults or {})},
            "overrides": list(overrides)},
        "options": options, **more}


LEGEND = {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}
TOOLTIP = {"mode": "multi", "sort": "desc"}
LAST = {"calcs": ["lastNotNull"], "fields": "", "values": False}


def timeseries(title, description, unit, targets, size, *, stacked=False, fill=10, overrides=(), **more):
    return panel(
        "timeseries", title, description, unit, targets, size, {"legend": LEGEND, "tooltip": TOOLTIP},
        custom={"drawStyle": "line", "lineWidth": 1, "fillOpacity": 40 if stacked else fill, "showPoints": "never",
                "stacking": {"mode": "normal" if stacked else "none", "group": "A"}},
        overrides=overrides, **more)


def stat(title, description, unit, targets, size, *, graph=False, named=False, **more):
    return panel(
        "stat", title, description, unit, targets, size,
        {"reduceOptions": LAST, "graphMode": "area" if graph else "none", "colorMode": "value", "justifyMode": "auto",
         "textMode": "value_and_name" if named else "value", "orientation": "auto", "wideLayout": True,
         "showPercentChange": False}, **more)


def bargauge(title, description, unit, targets, size, **more):
    return panel(
        "bargauge", title, description, unit, targets, size,
        {"reduceOptions": LAST, "displayMode": "basic", "orientation": "horizontal", "showUnfilled": True, "valueMode": "color",
         "namePlacement": "left", "sizing": "auto", "minVizWidth": 8, "minVizHeight": 16, "maxVizHeight": 48}, **more)


def states(title, description, targets, size, mappings, **more):
    return panel(
        "state-timeline", title, description, "none", targets, size,
        {"mergeValues": True, "showValue": "auto", "alignValue": "left", "rowHeight": 0.8, "legend": {**LEGEND, "showLegend": False},
         "tooltip": {"mode": "single", "sort": "none"}},
        custom={"fillOpacity": 80, "lineWidth": 0}, defaults={"mappings": mappings}, **more)


def bars(title, description, unit, targets, size, label, **more):
    """A bar for each moment that has a value; `label` is the moment's date format."""
    return panel(
        "barchart", title, description, unit, targets, size,
        {"xField": "Time", "orientation": "vertical", "stacking": "normal", "showValue": "never", "barWidth": 0.9, "groupWidth": 0.7,
         "xTickLabelRotation": 0, "xTickLabelMaxLength": 0, "xTickLabelSpacing": 100, "fullHighlight": False,
         "legend": LEGEND, "tooltip": TOOLTIP},
        custom={"fillOpacity": 80, "lineWidth": 0}, overrides=[override("Time", unit=f"time:{label}")],
        transformations=[{"id": "joinByField", "options": {"byField": "Time", "mode": "outer"}}], **more)


def table(title, description, keys, columns, size, *, sort=None, overrides=(), **more):
    """A row for each set of the labels `keys`; `columns` are (heading, expression, unit)."""
    headings = [heading for heading, _, _ in columns]
    values = ["Value"] if len(columns) == 1 else [f"Value #{chr(ord('A') + place)}" for place in range(len(columns))]
    return panel(
        "table", title, description, columns[0][2],
        [query(f"max by ({', '.join(keys)}) ({expression})", table=True) for _, expression, _ in columns], size,
        {"showHeader": True, "cellHeight": "sm", "frameIndex": 0, "sortBy": [{"displayName": sort, "desc": True}] if sort else []},
        defaults={"color": {"mode": "thresholds"}, "thresholds": thresholds(("text", None))},
        overrides=[override(heading, unit=unit) for heading, _, unit in columns] + list(overrides),
        transformations=[
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {
                "excludeByName": {"Time": True},
                "indexByName": {name: place for place, name in enumerate([*keys, *values])},
                "renameByName": {**{key: key.capitalize() for key in keys}, **dict(zip(values, headings))}}}],
        **more)


def matrix(title, description, unit, expression, row, column, size, **more):
    """A row for each value of one label and a column for each of another one."""
    return panel(
        "table", title, description, unit, [query(f"max by ({row}, {column}) ({expression})", table=True)], size,
        {"showHeader": True, "cellHeight": "sm", "frameIndex": 0},
        transformations=[{"id": "groupingToMatrix", "options": {
            "rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "null"}}], **more)


def variable(name, question, *, many=True):
    """A choice among the values of a label. With `many`, you can choose several of them, or all."""
    return {
        "type": "query", "name": name, "label": name.capitalize(), "datasource": DATASOURCE,
        "query": {"query": question, "refId": f"variable-{name}"}, "refresh": 2, "sort": 1, "multi": many, "includeAll": many,
        **({"current": {"text": ["All"], "value": ["$__all"]}} if many else {"current": {}}),
        # "All" jobs are those with netusage. For other labels, "all" includes values that existed only before the span.
        **({"allValue": ".+"} if many and name != "job" else {})}


def machines(*, many=True):
    """The variables that each dashboard begins with."""
    return [variable("job", "label_values(netusage_build_info, job)"),
            variable("instance", 'label_values(netusage_build_info{job=~"$job"}, instance)', many=many)]


def dashboard(uid, title, description, variables, panels, span):
    """Lays out the panels from left to right, in rows. All panels of a row have the same height."""
    x = y = height = 0
    for number, each in enumerate(panels, start=1):
        place = each["gridPos"]
        if x + place["w"] > 24:
            x, y = 0, y + height
        assert x == 0 or place["h"] == height, f"{each['title']} isn't as high as its row"
        height = place["h"]
        each["id"] = number
        each["gridPos"] = {**place, "x": x, "y": y}
        x += place["w"]
    datasource = {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "current": {},
                  "refresh": 1}
    return {
        "uid": uid, "title": title, "description": description, "tags": ["netusage"], "schemaVersion": 39, "version": 1,
        "editable": False, "graphTooltip": 1, "timezone": "browser", "refresh": "1m", "time": {"from": span, "to": "now"},
        "timepicker": {}, "weekStart": "", "annotations": {"list": []},
        "links": [{"type": "dashboards", "title": "netusage", "tags": ["netusage"], "asDropdown": False, "includeVars": True,
                   "keepTime": False, "icon": "external link", "targetBlank": False, "tooltip": "", "url": ""}],
        "templating": {"list": [datasource, *variables]}, "panels": panels}
