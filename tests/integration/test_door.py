"""The door as its clients see it: clickhouse-connect, curl, raw requests. The engine behind it is the real one."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import shutil
import subprocess
import threading
import time
from datetime import UTC, datetime

import fastavro
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData

from pipeline.embedded.process import free_port
from pipeline.embedded.store import EmbeddedStore
from pipeline.stores.door.access import read_token
from tests.support.needs import need
from tests.support.stores import ask, reader, writer

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
COLUMNS = """
    id Int32, text String, kind LowCardinality(String), time DateTime64(3, 'UTC'), share Nullable(Float64),
    names Array(String), pairs Map(String, String)
"""
ROWS = [[1, "plain", "a", NOON, None, ["x"], {"k": "v"}], [2, "o'b\n\t\\", "b", NOON, 1.5, [], {}]]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One for all tests here; each makes its own table."""
    running = EmbeddedStore(tmp_path_factory.mktemp("store"), port=free_port())
    running.start().wait_ready()
    yield running
    running.stop()


@pytest.fixture
def table(store):
    """A table of its own, empty."""
    name = f"t{time.monotonic_ns()}"
    with writer(store) as client:
        client.command(f"CREATE TABLE {name} ({COLUMNS}) ENGINE = MergeTree ORDER BY id")
        yield name
        client.command(f"DROP TABLE {name}")


@pytest.fixture
def token(store):
    return {"user": "writer", "password": read_token(store.folder)}


@pytest.mark.parametrize("compress", [True, False, "lz4", "zstd", "gzip"])
def test_clickhouse_connect_writes_and_reads_native(store, table, compress):
    with writer(store, compress=compress) as client:
        summary = client.insert(table, ROWS)
        assert summary.written_rows == 2
        rows = client.query(f"SELECT * FROM {table} ORDER BY id").result_rows
    assert [list(row[:3]) for row in rows] == [row[:3] for row in ROWS]
    assert [row[3].replace(tzinfo=UTC) for row in rows] == [NOON, NOON]
    assert [list(row[4:]) for row in rows] == [row[4:] for row in ROWS]


def test_frames_and_arrow_tables(store, table):
    with writer(store) as client:
        client.insert_df(table, pd.DataFrame({"id": [3], "text": ["frame"]}))
        client.insert_arrow(table, pa.table({"id": pa.array([4], pa.int32()), "text": ["arrow"]}))
    with reader(store) as client:
        query = f"SELECT id, text FROM {table} ORDER BY id"
        assert client.query_df(query).to_dict("list") == {"id": [3, 4], "text": ["frame", "arrow"]}
        assert client.query_arrow(query).num_rows == 2
        assert client.query_np(f"SELECT id FROM {table} ORDER BY id").tolist() == [[3], [4]]


def test_server_side_parameters_in_the_url_and_long_ones_in_a_form(store):
    with reader(store) as client:
        asked = "SELECT {text:String}, {ids:Array(Int32)}, {time:DateTime}"
        row = client.query(asked, {"text": "o'b\n\t\\ é", "ids": [1, 2], "time": NOON}).result_rows[0]
        assert row == ("o'b\n\t\\ é", [1, 2], NOON.replace(tzinfo=None))
        assert client.query("SELECT length({text:String})", {"text": "x" * 200_000}).result_rows == [
            (200_000,)
        ]
    with reader(store, form_encode_query_params=True) as client:
        assert client.query("SELECT {text:String}", {"text": "a&b=c"}).result_rows == [("a&b=c",)]


def test_a_parameter_is_never_part_of_the_statement(store):
    status, _, body = ask(store, b"SELECT {x:String} AS x FORMAT JSONEachRow", param_x="'; DROP TABLE a; --")
    assert (status, json.loads(body)) == (200, {"x": "'; DROP TABLE a; --"})


def test_settings_of_a_reader(store):
    with reader(store, settings={"max_threads": 1}) as client:
        assert client.query("SELECT getSetting('max_threads')", settings={"max_threads": 2}).result_rows == [
            (2,)
        ]
    assert ask(store, b"SELECT getSetting('max_block_size') SETTINGS max_block_size = 7")[2] == b"7\n"


def test_long_results_come_block_by_block(store):
    query = "SELECT number, toString(number) FROM numbers(300000)"
    with reader(store) as client, client.query_row_block_stream(query) as blocks:
        sizes = [len(block) for block in blocks]
    assert sum(sizes) == 300_000
    assert len(sizes) > 1


def test_a_statement_that_fails_on_its_way_is_not_taken_for_complete(store):
    query = "SELECT number, throwIf(number = 5000000) FROM numbers(6000000)"
    with (
        reader(store) as client,
        pytest.raises(StreamFailureError, match="throwIf") as found,
        client.query_row_block_stream(query) as blocks,
    ):
        assert sum(len(block) for block in blocks) < 6_000_000
    assert found.value.code == 395
    with pytest.raises(http.client.IncompleteRead):
        ask(store, query.encode())
    assert ask(store, query.encode(), wait_end_of_query=1)[0] == 500


@pytest.mark.parametrize(
    "form", ["Native", "RowBinary", "RowBinaryWithNamesAndTypes", "Arrow", "ArrowStream"]
)
@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_what_a_binary_format_brings_goes_back_in(store, table, token, form, encoding):
    with writer(store) as client:
        client.insert(table, ROWS[:1])
    bring = {} if encoding is None else {"enable_http_compression": 1}
    headers = {} if encoding is None else {"Accept-Encoding": encoding}
    columns = "toInt32(id + 10) AS id, text, kind, time, share"
    _, said, data = ask(
        store, f"SELECT {columns} FROM {table} FORMAT {form}".encode(), headers=headers, **bring
    )
    assert said.get("Content-Encoding") == encoding
    assert said["X-ClickHouse-Format"] == form
    insert = f"INSERT INTO {table} (id, text, kind, time, share) FORMAT {form}"
    if encoding:
        status, _, body = ask(store, data, headers={"Content-Encoding": encoding}, query=insert, **token)
    else:
        status, _, body = ask(store, insert.encode() + b"\n" + data, **token)
    assert (status, body) == (200, b"")
    assert ask(store, f"SELECT id, text FROM {table} ORDER BY id".encode())[2] == b"1\tplain\n11\tplain\n"


def test_text_formats_and_avro_go_in(store, table, token):
    insert = f"INSERT INTO {table} (id, text) FORMAT"
    avro = io.BytesIO()
    fields = [{"name": "id", "type": "int"}, {"name": "text", "type": "string"}]
    fastavro.writer(avro, {"type": "record", "name": "Row", "fields": fields}, [{"id": 3, "text": "avro"}])
    for form, data in {
        "CSV": b'1,"a, b"\n',
        "JSONEachRow": b'{"id": 2, "text": "json"}\n',
        "Avro": avro.getvalue(),
        "TabSeparated": b"4\ta\\tb\n",
    }.items():
        status, said, body = ask(store, data, query=f"{insert} {form}", **token)
        assert (status, json.loads(said["X-ClickHouse-Summary"])["written_rows"]) == (200, "1"), body
    ask(store, f"INSERT INTO {table} (id, text) VALUES (5, 'FORMAT CSV')".encode(), **token)
    ask(store, f"INSERT INTO {table} (id, text) SELECT 6, 'select'".encode(), **token)
    rows = ask(store, f"SELECT id, text FROM {table} ORDER BY id FORMAT JSONEachRow".encode())[2]
    texts = [json.loads(line)["text"] for line in rows.splitlines()]
    assert texts == ["a, b", "json", "avro", "a\tb", "FORMAT CSV", "select"]


def test_a_batch_that_does_not_fit_leaves_nothing_behind(store, table, token):
    frame = pl.DataFrame({"id": [1, 2], "text": ["a", "b"], "nonsense": [1, 2]})
    out = io.BytesIO()
    frame.write_ipc_stream(out)
    insert = f"INSERT INTO {table} (id, text, nonsense) FORMAT ArrowStream"
    status, said, body = ask(store, out.getvalue(), query=insert, **token)
    assert (status, said["X-ClickHouse-Exception-Code"]) == (400, "16") or status == 500
    assert body.startswith(b"Code: 16. DB::Exception")
    status, said, _ = ask(store, b"not arrow", query=f"INSERT INTO {table} FORMAT ArrowStream", **token)
    assert status >= 400
    assert ask(store, f"SELECT count() FROM {table}".encode())[2] == b"0\n"


def test_get_and_post_url_and_body(store):
    for call in (
        {"method": "GET", "query": "SELECT 1"},
        {"query": "SELECT 1"},
        {"query": "SELECT", "body": b"1"},
        {"body": b"SELECT 1"},
        {"body": gzip.compress(b"SELECT 1"), "headers": {"Content-Encoding": "gzip"}},
        {"body": b"SELECT 1;  -- end"},
    ):
        assert ask(store, **call)[2] == b"1\n"
    assert ask(store, method="GET")[::2] == (200, b"Ok.\n")
    assert ask(store, b"SELECT 1 AS a", default_format="JSONEachRow")[2] == b'{"a":1}\n'
    assert ask(store, b"SELECT 1 AS a", headers={"X-ClickHouse-Format": "CSVWithNames"})[2] == b'"a"\n1\n'
    status, said, body = ask(store, method="HEAD", query="SELECT 1")
    assert (status, body) == (200, b"")
    assert said["X-ClickHouse-Server-Display-Name"]


def test_a_database_in_the_url_in_a_header_and_none_such(store):
    with writer(store) as client:
        client.command("CREATE DATABASE IF NOT EXISTS other")
    assert ask(store, b"SELECT currentDatabase()")[2] == b"default\n"
    assert ask(store, b"SELECT currentDatabase()", database="other")[2] == b"other\n"
    assert (
        ask(store, b"SELECT currentDatabase()", headers={"X-ClickHouse-Database": "other"})[2] == b"other\n"
    )
    status, said, body = ask(store, b"SELECT 1", database="no`such")
    assert (status, said["X-ClickHouse-Exception-Code"]) == (404, "81")
    assert b"such` does not exist" in body


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELEC 1", 62, 400),
        ("SELECT nope", 47, 404),
        ("SELECT * FROM nope", 60, 404),
        ("SELECT nope(1)", 46, 404),
        ("SELECT 1 FORMAT Nope", 73, 404),
        ("SELECT throwIf(1)", 395, 500),
        ("SELECT 1; SELECT 2", 62, 400),
        ("SELECT {x:Int8}", 456, 500),
        ("SELECT 1 SETTINGS nope = 1", 115, 404),
    ],
)
def test_errors_stand_in_the_header_and_in_the_body(store, sql, code, status):
    found, said, body = ask(store, sql.encode())
    assert (found, said["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert body.startswith(f"Code: {code}. DB::Exception: ".encode())
    assert body.endswith(b"(official build))\n")
    with reader(store) as client, pytest.raises(DatabaseError) as raised:
        client.command(sql)
    assert raised.value.code == code


def test_a_syntax_error_is_at_the_place_where_the_client_wrote_it(store):
    assert (
        b"at position 10 " in ask(store, b"SELECT 1 +")[2] or b"position 11" in ask(store, b"SELECT 1 +")[2]
    )


def test_external_tables_and_native_compression_are_refused_with_what_to_do(store):
    data = ExternalData(file_name="e.csv", data=b"1", fmt="CSV", structure="a Int32")
    with reader(store) as client, pytest.raises(DatabaseError, match="external table e") as found:
        client.query("SELECT * FROM e", external_data=data)
    assert found.value.code == 48
    status, _, body = ask(store, b"SELECT 1", compress=1)
    assert (status, b"Accept-Encoding" in body) == (501, True)


def test_a_body_beyond_the_limit_is_refused(store, monkeypatch):
    connection = http.client.HTTPConnection(store.host, store.port)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders()
    connection.send(b"SELECT 1" + b" " * 100)
    connection.close()
    assert ask(store, path="/ping", method="GET")[0] == 200


READING = [
    "SELECT 1",
    "WITH 1 AS a SELECT a",
    "FROM numbers(2) SELECT number",
    "SHOW TABLES",
    "SHOW DATABASES",
    "SHOW CREATE DATABASE feedback",
    "DESCRIBE TABLE system.one",
    "DESC system.one",
    "EXPLAIN SELECT 1",
    "EXPLAIN indexes = 1, actions = 1 SELECT 1 SETTINGS max_threads = 1",
    "EXPLAIN QUERY TREE run_passes = 0 SELECT 1",
    "EXISTS TABLE system.one",
    "SELECT * FROM numbers(2)",
    "SELECT * FROM values('a Int8', 1, 2)",
    "SELECT 1 SETTINGS max_threads = 1",
    "SELECT (SELECT 1 SETTINGS max_threads = 1), 'SETTINGS a = 1' SETTINGS max_block_size = 10",
    "SELECT 1 AS file, 2 AS url",
    "SELECT * FROM (SELECT 1 UNION ALL SELECT 2)",
]


@pytest.mark.parametrize("sql", READING)
def test_anybody_may_read(store, sql):
    assert ask(store, sql.encode())[0] == 200


WRITING = [
    "CREATE TABLE x (a Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE x (a Int8)",
    "CREATE DATABASE x",
    "DROP DATABASE feedback",
    "TRUNCATE TABLE system.one",
    "ALTER TABLE system.one ADD COLUMN a Int8",
    "INSERT INTO system.one VALUES (1)",
    "INSERT INTO system.one FORMAT CSV\n1",
    "INSERT INTO FUNCTION file('/tmp/x', 'CSV', 'a Int8') SELECT 1",
    "OPTIMIZE TABLE system.one",
    "KILL QUERY WHERE 1",
    "SYSTEM FLUSH LOGS",
    "GRANT SELECT ON *.* TO default",
    "SET max_threads = 1",
    "SET readonly = 0",
    "RENAME TABLE a TO b",
]
REACHING = [
    "SELECT * FROM file('{secret}', 'LineAsString')",
    "SELECT file('{secret}')",
    "SELECT `file`('{secret}')",
    "SELECT `f\\x69le`('{secret}')",
    "SELECT \"file\"('{secret}')",
    "SELECT arrayMap(file, ['{secret}'])",
    "SELECT arrayMap(x -> file(x), ['{secret}'])",
    "WITH a AS (SELECT file('{secret}')) SELECT * FROM a",
    "SELECT * FROM view(SELECT file('{secret}'))",
    "SELECT * FROM eval('SELECT file(''{secret}'')')",
    "SELECT * FROM (EXPLAIN SELECT * FROM file('{secret}'))",
    "DESCRIBE file('{secret}', 'CSV')",
    "DESCRIBE (SELECT * FROM file('{secret}', 'CSV'))",
    "SELECT 1 WHERE 1 IN (SELECT 1 FROM file('{secret}', 'LineAsString'))",
    "SELECT * FROM url('http://127.0.0.1:1/')",
    "DESCRIBE TABLE url('http://127.0.0.1:1/')",
    "SELECT * FROM remote('127.0.0.1', 'system', 'one')",
    "SELECT * FROM s3('http://127.0.0.1:1/bucket/a.csv')",
    "SELECT * FROM sqlite('{secret}', 'a')",
    "SELECT * FROM executable('id', 'CSV', 'a String')",
    "SELECT * FROM Python(connection)",
    "SELECT 1 INTO OUTFILE '{secret}.copy'",
    "SELECT 1 SETTINGS format_schema = '{secret}'",
    "EXPLAIN indexes = 1 SELECT 1 SETTINGS format_schema = '{secret}'",
    "SELECT 1 SETTINGS `format\\x5fschema` = '{secret}'",
    "SELECT 1 FORMAT Template SETTINGS format_template_row = '{secret}'",
    "file('{secret}')",
]


@pytest.mark.parametrize("sql", WRITING)
def test_only_the_writer_changes_anything(store, sql):
    status, said, body = ask(store, sql.encode())
    assert status >= 400
    assert said["X-ClickHouse-Exception-Code"] in ("164", "497"), body


@pytest.mark.parametrize("sql", REACHING)
def test_a_reader_does_not_get_out_of_the_store(store, tmp_path, sql):
    """The store's user may read every token and key of its owner; whoever can connect must not."""
    secret = tmp_path / "secret"
    secret.write_text("hush-hush")
    status, _, body = ask(store, sql.replace("{secret}", str(secret)).encode())
    assert status >= 400, body
    assert b"hush" not in body
    assert list(tmp_path.iterdir()) == [secret]


def test_settings_that_name_files_or_lift_the_restriction_are_not_for_readers(store, token):
    for name in ("format_schema", "format_template_row", "output_format_schema", "dialect", "compatibility"):
        status, said, _ = ask(store, b"SELECT 1", **{name: "x"})
        assert (status, said["X-ClickHouse-Exception-Code"]) == (500, "164"), name
    assert ask(store, b"SELECT getSetting('readonly')", readonly=0)[2] == b"2\n"
    assert ask(store, b"CREATE DATABASE x", readonly=1, **token)[0] == 500


def test_get_changes_nothing_even_for_the_writer(store, token):
    status, said, _ = ask(store, method="GET", query="CREATE DATABASE by_get", **token)
    assert (status, said["X-ClickHouse-Exception-Code"]) == (500, "164")


def test_a_wrong_password_is_refused_and_not_taken_for_a_reader(store):
    status, said, body = ask(store, b"SELECT 1", user="writer", password="wrong")
    assert (status, said["X-ClickHouse-Exception-Code"]) == (403, "516")
    assert b"writer" in body


def test_a_name_that_is_not_of_this_machine_gets_nothing(store):
    assert ask(store, b"SELECT 1", headers={"Host": "evil.example"})[0] == 403
    assert ask(store, b"SELECT 1", headers={"Host": "localhost"})[0] == 200


def test_a_slow_query_holds_nobody_up_and_ends_with_its_client(store):
    slow = b"SELECT sum(sipHash64(number)) FROM numbers(100000000000)"
    connection = http.client.HTTPConnection(store.host, store.port)
    connection.request("POST", "/?query_id=slow-one", slow)
    running = b"SELECT count() FROM system.processes WHERE Settings['log_comment'] = 'slow-one'"
    _until(lambda: ask(store, running)[2] == b"1\n")
    assert ask(store, method="GET", path="/ping")[2] == b"Ok.\n"
    assert ask(store, b"SELECT 1")[2] == b"1\n"
    connection.close()
    _until(lambda: ask(store, running)[2] == b"0\n")


def test_a_query_that_takes_too_long_says_so(store):
    slow = b"SELECT sum(sipHash64(number)) FROM numbers(100000000000)"
    status, said, _ = ask(store, slow, max_execution_time=1)
    assert (status, said["X-ClickHouse-Exception-Code"]) == (408, "159")


def test_a_result_that_would_fill_the_memory_is_refused_and_may_be_streamed(store):
    large = b"SELECT number, repeat('x', 1000 + number % 2) FROM numbers(100000000)"
    status, said, _ = ask(store, large + b" FORMAT JSON")
    assert (status, said["X-ClickHouse-Exception-Code"]) == (500, "396")
    connection = http.client.HTTPConnection(store.host, store.port)
    connection.request("POST", "/", large + b" FORMAT Native")
    answer = connection.getresponse()
    assert len(answer.read(50_000_000)) == 50_000_000
    connection.close()


def test_many_clients_at_a_time(store, table, token):
    wrong: list[object] = []

    def work(worker):
        for n in range(10):
            wrote = ask(store, f"INSERT INTO {table} (id) VALUES ({worker * 10 + n})".encode(), **token)
            read = ask(store, f"SELECT count() FROM {table} WHERE id = {worker * 10 + n}".encode())
            wrong.extend(
                answer for answer in (wrote, read) if answer[0] != 200 or answer[2] not in (b"", b"1\n")
            )

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert ask(store, f"SELECT count() FROM {table}".encode())[2] == b"80\n"


def test_curl(store, table):
    if shutil.which("curl") is None:
        need("there is no curl")
    url = f"http://{store.host}:{store.port}/"
    token = read_token(store.folder)

    def curl(*arguments):
        return subprocess.run(["curl", "-sS", *arguments], capture_output=True, text=True, check=True).stdout

    assert curl(f"{url}ping") == "Ok.\n"
    assert curl(url, "-d", "SELECT 1 + 1") == "2\n"
    assert curl("-G", url, "--data-urlencode", "query=SELECT 'a b'") == "a b\n"
    assert curl("--compressed", f"{url}?enable_http_compression=1", "-d", "SELECT 'x'") == "x\n"
    insert = f"INSERT INTO {table} (id, text) FORMAT CSV\n7,seven\n"
    assert curl("-u", f"writer:{token}", url, "--data-binary", insert) == ""
    assert curl(url, "-d", f"SELECT text FROM {table}") == "seven\n"


def test_every_type_of_a_block_for_newer_clients(store):
    """A block of two columns must be its one-column blocks put together: nothing here walks over the data."""
    values = [
        "1", "toInt256(5)", "'text'", "repeat('é', 100)", "toFixedString('ab', 4)", "toLowCardinality('a')",
        "toLowCardinality(toNullable('a'))", "toNullable(2)", "CAST(NULL, 'Nullable(String)')", "NULL",
        "[1, 2, 3]", "[[1], [], [2, 3]]", "CAST([], 'Array(String)')", "['a', 'bc']",
        "map('a', 1, 'b', 2)", "map('k', ['v', 'w'])", "tuple(1, 'x', [toNullable(2)])",
        "CAST((1, 'a'), 'Tuple(x UInt8, `y z` String)')", "CAST('a', 'Enum8(\\'a, (b\\' = 2, \\'a\\' = 1)')",
        "toDate('2026-01-01')", "toDateTime(1, 'UTC')", "toDateTime64(1, 3, 'Europe/Vienna')",
        "toDecimal64(1.5, 3)", "toDecimal256(1, 2)",
        "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')", "toIPv4('1.2.3.4')", "toIPv6('::1')", "1.5", "true",
        "toIntervalDay(1)", "[toLowCardinality('a'), 'b']", "CAST(['a'], 'Array(LowCardinality(String))')",
    ]  # fmt: skip
    rows = 3

    def block(columns, **more):
        listed = ", ".join(f"materialize({value}) AS c{place}" for place, value in columns)
        return ask(store, f"SELECT {listed} FROM numbers({rows}) FORMAT Native".encode(), **more)[2]

    info = b"\x01\x00\x02\xff\xff\xff\xff\x00"
    named = list(enumerate(values))
    single = {place: block([(place, value)])[2:] for place, value in named}
    for older in (51_903, 54_405):
        assert block(named, client_protocol_version=older)[8:] == block(named)
    expected = info + bytes([len(values), rows])
    for place, _ in named:
        expected += _with_a_zero_behind_its_type(single[place])
    found = block(named, client_protocol_version=54_460, wait_end_of_query=1)
    assert found == expected
    assert block(named, client_protocol_version=54_460) == expected


def _with_a_zero_behind_its_type(column):
    name = column[0]
    kind = column[1 + name]
    end = 2 + name + kind
    return column[:end] + b"\0" + column[end:]


def test_types_that_cannot_be_walked_over_are_refused_with_what_to_do(store):
    json_type = b"SELECT CAST('{\"a\": 1}', 'JSON') AS a FORMAT Native"
    status, _, body = ask(store, json_type, client_protocol_version=54_460)
    assert (status, b"cast it" in body) == (501, True)


def _until(true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
