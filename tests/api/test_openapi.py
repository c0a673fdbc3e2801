"""The description against the routes and their answers."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from gossipkv.api.description.openapi import document
from gossipkv.api.problem import KINDS
from gossipkv.api.route_table import RouteTable
from gossipkv.api.routes import routes

from .conftest import OPTIONS, Api

ROW = "/v1/{namespace}/tables/{table}/rows/{row}"
ROWS = "/v1/{namespace}/tables/{table}/rows"
BATCH = "/v1/{namespace}/tables/{table}/rows:batch"
TABLES = "/v1/{namespace}/tables"
TABLE = "/v1/{namespace}/tables/{table}"
MEMBER = "/v1/cluster/members/{member}"


def route_table(api: Api) -> RouteTable:
    return RouteTable(routes(api.node, api.metrics, OPTIONS), api.metrics, 1)


async def test_the_description_is_valid_and_served(api: Api) -> None:
    served = (await api.ask("GET", "/openapi.json")).json
    validate(served)
    assert served == document(OPTIONS)
    assert (await api.ask("GET", "/")).json["openapi"] == "/openapi.json"


async def test_routes_and_description_name_the_same_calls(api: Api) -> None:
    described = {
        (operation.upper(), path)
        for path, operations in document(OPTIONS)["paths"].items()
        for operation in operations
        if operation != "parameters"
    }
    routed = {(method, path) for path, methods in route_table(api).methods.items() for method in methods}
    assert described == routed


async def test_routes_and_description_name_the_same_query_parameters(api: Api) -> None:
    for path, methods in route_table(api).methods.items():
        for method, route in methods.items():
            parameters = document(OPTIONS)["paths"][path][method.lower()].get("parameters", [])
            assert {p["name"] for p in parameters if p["in"] == "query"} == route.parameters, (method, path)


def test_every_kind_of_problem_is_described() -> None:
    text = str(document(OPTIONS))
    beside_routes = {"path-not-found", "method-not-allowed", "line-too-long"}
    for kind in KINDS.keys() - beside_routes:
        assert f"`{kind}`" in text, kind


EXCHANGES: list[tuple[str, str, str, int, dict[str, Any]]] = [
    ("PUT", ROW, "k", 201, {"data": b"v"}),
    ("PUT", ROW, "k", 204, {"data": b"v"}),
    ("GET", ROW, "k", 200, {}),
    ("HEAD", ROW, "k", 200, {}),
    ("GET", ROW, "k", 304, {"headers": {"If-None-Match": "*"}}),
    ("GET", ROW, "k", 412, {"headers": {"If-Match": '"x"'}}),
    ("GET", ROW, "absent", 404, {}),
    ("GET", ROW, "%FF", 400, {}),
    ("PUT", ROW, "k", 412, {"data": b"v", "headers": {"If-None-Match": "*"}}),
    ("PUT", ROW, "k", 413, {"data": b"v" * 2000}),
    ("PUT", ROW, "k", 415, {"data": b"v", "headers": {"Content-Encoding": "gzip"}}),
    ("PUT", ROW, "k", 417, {"data": b"v", "headers": {"Expect": "x"}}),
    ("DELETE", ROW, "k", 412, {"headers": {"If-Match": '"x"'}}),
    ("GET", ROWS, "", 200, {}),
    ("GET", ROWS, "", 200, {"headers": {"Accept": "application/x-ndjson"}}),
    ("GET", TABLES, "", 200, {}),
    ("GET", TABLE, "", 200, {}),
    ("PUT", TABLE, "", 201, {"data": b"{}"}),
    ("PUT", TABLE, "", 204, {"data": b"{}"}),
    ("PUT", TABLE, "", 422, {"data": b'{"conflicts":"first"}'}),
    ("PUT", TABLE, "", 204, {"data": b'{"conflicts":"siblings"}'}),
    ("PUT", ROW, "s", 201, {"data": b"one"}),
    ("PUT", ROW, "s", 204, {"data": b"two"}),
    ("GET", ROW, "s", 300, {}),
    ("GET", ROW, "s", 300, {"headers": {"Accept": "multipart/mixed"}}),
    ("GET", ROWS, "", 200, {}),
    ("DELETE", ROW, "s", 428, {}),
    ("PUT", TABLE, "", 204, {"data": b'{"conflicts":"lww"}'}),
    ("POST", BATCH, "", 200, {"data": b'{"row":"b","value":"v"}\nx\n'}),
    ("POST", BATCH, "", 415, {"data": b"", "headers": {"Content-Encoding": "gzip"}}),
    ("DELETE", ROW, "k", 204, {}),
    ("DELETE", TABLE, "", 204, {}),
    ("GET", TABLE, "", 404, {}),
    ("GET", "/v1/cluster", "", 200, {}),
    ("GET", "/v1/cluster/members", "", 200, {}),
    ("DELETE", MEMBER, "gossipkv-0", 409, {}),
    ("DELETE", MEMBER, "gossipkv-9", 404, {}),
    ("GET", "/livez", "", 200, {}),
    ("GET", "/readyz", "", 200, {}),
    ("GET", "/metrics", "", 200, {}),
    ("GET", "/", "", 200, {}),
    ("GET", "/openapi.json", "", 200, {}),
]


async def test_answers_are_as_described(api: Api) -> None:
    await api.node.wait_ready()
    for method, template, row, status, arguments in EXCHANGES:
        path = template.format(namespace="usr", table="t", row=row, member=row)
        answer = await api.ask(method, path, **arguments)
        case = (method, template, status)
        assert answer.status == status, case
        responses = document(OPTIONS)["paths"][template][method.lower()]["responses"]
        assert str(status) in responses, case
        response = responses[str(status)]
        if not answer.body:
            continue
        content_type = answer.headers["Content-Type"].partition(";")[0]
        assert content_type in response["content"], case
        schema = response["content"][content_type].get("schema")
        if schema:
            assert_fits(answer, content_type, schema)


async def test_a_description_that_does_not_fit_is_noticed(api: Api) -> None:
    answer = await api.ask("GET", "/v1/cluster")
    with pytest.raises(Exception, match="items"):
        assert_fits(answer, "application/json", {"$ref": "#/components/schemas/RowPage"})


def assert_fits(answer: Any, content_type: str, schema: dict[str, Any]) -> None:
    components = {"components": document(OPTIONS)["components"]}
    validator = OAS31Validator({**schema, **components})
    for content in answer.lines if content_type.endswith("ndjson") else [answer.json]:
        validator.validate(content)
