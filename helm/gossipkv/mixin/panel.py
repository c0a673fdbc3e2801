"""Dashboards as data, and the JSON that Grafana takes.

A dashboard has no uid and no id. Grafana assigns them, so two releases, or an older copy, never overwrite each other.
In expressions, `SELECTED` stands for the matchers that the dashboard's variables set. `All` is the expression `.*`,
which also matches series without the label. So the dashboards work with a Prometheus that has no `cluster` label.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SCHEMA_VERSION = 39
"""The schema version of Grafana 10.4. Later versions migrate it by themselves."""
GRID_WIDTH = 24
DATASOURCE = {"type": "prometheus", "uid": "$datasource"}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    expression: str
    legend: str = ""
    is_limit: bool = False
    """Whether the query is the limit of another query of the panel. Its line is dashed."""


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    description: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    """The kind of panel: timeseries, stat, table or heatmap."""
    unit: str = "short"
    thresholds: tuple[tuple[float, str], ...] = ()
    """The colours, each from its value on. Values below the first are green."""
    width: int = 8
    height: int = 8
    is_stacked: bool = False
    maximum: float | None = None
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    label: str
    query: str
    has_all: bool = True


@dataclass(frozen=True, slots=True)
class Dashboard:
    name: str
    """The name of the dashboard's file."""
    title: str
    description: str
    matchers: str
    """The matchers that SELECTED stands for."""
    variables: tuple[Variable, ...]
    sections: tuple[Section, ...]


def dashboard_json(dashboard: Dashboard) -> Json:
    """Build the JSON that Grafana imports."""
    return {
        "id": None,
        "uid": None,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["gossipkv"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [
            {
                "type": "dashboards",
                "title": "gossipkv",
                "tags": ["gossipkv"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": [_datasource_variable(), *map(_variable, dashboard.variables)]},
        "panels": list(_placed(dashboard)),
    }


def _datasource_variable() -> Json:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0}


def _variable(variable: Variable) -> Json:
    written: Json = {
        "name": variable.name,
        "label": variable.label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": variable.query,
        "query": {"query": variable.query, "refId": "Variable"},
        "refresh": 2,
        "sort": 1,
        "multi": False,
        "includeAll": variable.has_all,
    }
    if variable.has_all:
        written |= {"allValue": ".*", "current": {"text": "All", "value": "$__all", "selected": True}}
    return written


def _placed(dashboard: Dashboard) -> Iterator[Json]:
    """Yield rows and panels from left to right and top to bottom, numbered in this order."""
    number = top = 0
    for section in dashboard.sections:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": section.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": top, "w": GRID_WIDTH, "h": 1},
            "panels": [],
        }
        top += 1
        left = height = 0
        for panel in section.panels:
            number += 1
            if left + panel.width > GRID_WIDTH:
                top, left, height = top + height, 0, 0
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            yield _panel(panel, dashboard.matchers) | {"id": number, "gridPos": place}
            left, height = left + panel.width, max(height, panel.height)
        top += height


def _panel(panel: Panel, matchers: str) -> Json:
    defaults: Json = {"unit": panel.unit, "color": {"mode": "palette-classic"}, "mappings": []}
    if panel.thresholds or panel.kind == "stat":
        steps: list[Json] = [{"value": None, "color": "green"}]
        steps += [{"value": value, "color": colour} for value, colour in panel.thresholds]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    if panel.maximum is not None:
        defaults |= {"min": 0, "max": panel.maximum}
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    written: Json = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "fieldConfig": {
            "defaults": defaults,
            "overrides": [_dashed(index) for index, query in enumerate(panel.queries) if query.is_limit],
        },
        "targets": [_target(panel, query, index, matchers) for index, query in enumerate(panel.queries)],
    }
    return written | _FORMS[panel.kind](panel, defaults)


def _reference(index: int) -> str:
    """Return the name of a query within its panel."""
    return chr(ord("A") + index)


def _dashed(index: int) -> Json:
    return {
        "matcher": {"id": "byFrameRefID", "options": _reference(index)},
        "properties": [{"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [10, 10]}}],
    }


def _target(panel: Panel, query: Query, index: int, matchers: str) -> Json:
    target: Json = {
        "refId": _reference(index),
        "datasource": DATASOURCE,
        "expr": query.expression.replace("SELECTED", matchers),
        "editorMode": "code",
    }
    match panel.kind:
        case "table":
            return target | {"instant": True, "range": False, "format": "table"}
        case "heatmap":
            return target | {"range": True, "format": "heatmap", "legendFormat": "{{le}}"}
        case "stat":
            return target | {"instant": True, "range": False, "legendFormat": query.legend}
        case _:
            return target | {"range": True, "legendFormat": query.legend}


def _timeseries(panel: Panel, defaults: Json) -> Json:
    defaults["custom"] = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if panel.is_stacked else 10,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if panel.thresholds else "off"},
    }
    return {
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    }


def _stat(_: Panel, defaults: Json) -> Json:
    defaults["color"] = {"mode": "thresholds"}
    return {
        "options": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "none",
            "textMode": "auto",
        }
    }


def _table(_: Panel, defaults: Json) -> Json:
    defaults["color"] = {"mode": "fixed", "fixedColor": "text"}
    hidden = {"Time": True, "__name__": True, "instance": True, "endpoint": True, "service": True, "container": True}
    return {
        "options": {"showHeader": True, "cellHeight": "sm"},
        "transformations": [{"id": "organize", "options": {"excludeByName": hidden}}],
    }


def _heatmap(panel: Panel, defaults: Json) -> Json:
    defaults["custom"] = {"scaleDistribution": {"type": "linear"}}
    return {
        "options": {
            "calculate": False,
            "yAxis": {"unit": panel.unit, "axisPlacement": "left"},
            "rowsFrame": {"layout": "auto"},
            "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5},
            "cellGap": 1,
            "tooltip": {"mode": "single", "yHistogram": False},
            "legend": {"show": True},
        }
    }


_FORMS = {"timeseries": _timeseries, "stat": _stat, "table": _table, "heatmap": _heatmap}
