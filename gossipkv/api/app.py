"""The application: every route, and nothing between it and aiohttp."""

from __future__ import annotations

from aiohttp import web

from gossipkv.api import listing, openapi, target
from gossipkv.api.batch import Batch
from gossipkv.api.cluster import Cluster
from gossipkv.api.health import Health
from gossipkv.api.listing import Listing
from gossipkv.api.options import ApiOptions
from gossipkv.api.routes import Everything, Route, RouteTable
from gossipkv.api.rows import Rows
from gossipkv.api.tables import Tables
from gossipkv.metrics import Metrics
from gossipkv.node import Node


def routes(node: Node, metrics: Metrics, options: ApiOptions) -> list[Route]:
    rows = Rows(node, options)
    tables = Tables(node, options)
    cluster = Cluster(node)
    health = Health(node, metrics)
    document = openapi.Document(options)
    return [
        Route("GET", target.ROW, rows.get),
        Route("PUT", target.ROW, rows.put),
        Route("DELETE", target.ROW, rows.delete),
        Route("GET", target.ROWS, Listing(node, options).get, listing.PARAMETERS),
        Route("POST", target.BATCH, Batch(node, options).post),
        Route("GET", target.TABLES, tables.get_all),
        Route("GET", target.TABLE, tables.get),
        Route("PUT", target.TABLE, tables.put),
        Route("DELETE", target.TABLE, tables.delete),
        Route("GET", "/v1/cluster", cluster.get),
        Route("GET", "/v1/cluster/members", cluster.get_members),
        Route("GET", "/livez", health.live),
        Route("GET", "/readyz", health.ready),
        Route("GET", "/metrics", health.metrics),
        Route("GET", "/openapi.json", document.get),
        Route("GET", "/", document.get_root),
    ]


def build_app(node: Node, metrics: Metrics, options: ApiOptions) -> web.Application:
    """The API of a started node. It has no middlewares: each would cost every request."""
    table = RouteTable(routes(node, metrics, options), metrics, options.retry_after_seconds)
    app = web.Application()
    # Found sooner under the path that most requests begin with.
    for canonical in ("/v1/usr/tables", "/"):
        app.router.register_resource(Everything(table, canonical))
    return app
