"""Every route of the API, and what answers it."""

from __future__ import annotations

from functools import partial

from gossipkv.api.answers.alone import alone_headers
from gossipkv.api.description import openapi
from gossipkv.api.handlers import consistency, listing, watch
from gossipkv.api.handlers.batch import BatchHandlers
from gossipkv.api.handlers.cluster import FORGET_PARAMETERS, ClusterHandlers
from gossipkv.api.handlers.health import Health
from gossipkv.api.handlers.listing import Listing
from gossipkv.api.handlers.rows import PARAMETERS as PUT_PARAMETERS
from gossipkv.api.handlers.rows import RowHandlers
from gossipkv.api.handlers.tables import TableHandlers
from gossipkv.api.options import ApiOptions
from gossipkv.api.requests import target
from gossipkv.api.route_table import Route, RouteTable
from gossipkv.member.metrics import Metrics
from gossipkv.member.node import MemberNode


def routes(node: MemberNode, metrics: Metrics, options: ApiOptions) -> list[Route]:
    rows = RowHandlers(node, options)
    tables = TableHandlers(node, options)
    cluster = ClusterHandlers(node)
    health = Health(node, metrics)
    document = openapi.Document(options)
    return [
        Route("GET", target.ROW, rows.get, consistency.READ_PARAMETERS, is_of_rows=True),
        Route("PUT", target.ROW, rows.put, consistency.WRITE_PARAMETERS | PUT_PARAMETERS, is_of_rows=True),
        Route("DELETE", target.ROW, rows.delete, consistency.WRITE_PARAMETERS, is_of_rows=True),
        Route("GET", target.ROWS, Listing(node, options).get, listing.PARAMETERS, is_of_rows=True),
        Route("POST", target.BATCH, BatchHandlers(node, options).post, consistency.WRITE_PARAMETERS, is_of_rows=True),
        Route("GET", target.WATCH, watch.WatchHandlers(node, options).get, watch.PARAMETERS, is_of_rows=True),
        Route("GET", target.TABLES, tables.get_all),
        Route("GET", target.TABLE, tables.get),
        Route("PUT", target.TABLE, tables.put),
        Route("DELETE", target.TABLE, tables.delete),
        Route("GET", "/v1/cluster", cluster.get),
        Route("GET", "/v1/cluster/members", cluster.get_members),
        Route("DELETE", target.MEMBER, cluster.forget_member, FORGET_PARAMETERS),
        Route("GET", target.RECEIPT, consistency.ReceiptHandlers(node).get, consistency.RECEIPT_PARAMETERS),
        Route("GET", "/livez", health.live),
        Route("GET", "/readyz", health.ready),
        Route("GET", "/metrics", health.metrics),
        Route("GET", "/openapi.json", document.get),
        Route("GET", "/", document.get_root),
    ]


def build_api(node: MemberNode, metrics: Metrics, options: ApiOptions) -> RouteTable:
    """The API of a started node, for `serve`."""
    return RouteTable(
        routes(node, metrics, options), metrics, options.retry_after_seconds, partial(alone_headers, node)
    )
