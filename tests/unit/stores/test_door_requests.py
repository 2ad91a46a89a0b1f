"""What the door makes of a request: encodings, INSERTs with data, who may write, which names are of this machine."""

import base64
import gzip
import os
import stat
import zlib

import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import FeedbackError
from pipeline.stores.door import access, encodings
from pipeline.stores.door.encodings import zstd
from pipeline.stores.door.refusal import Refusal, of_engine
from pipeline.stores.door.request import split_insert

COMPRESS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstd.compress,
    "lz4": lz4.frame.compress,
}
MOST = 1 << 26


@given(st.sampled_from(sorted(COMPRESS)), st.lists(st.binary(max_size=3000), min_size=1, max_size=4))
def test_a_body_of_several_frames_is_their_contents_one_behind_the_other(name, parts):
    body = b"".join(COMPRESS[name](part) for part in parts)
    assert encodings.decode(body, name, MOST) == b"".join(parts)


@given(st.sampled_from(sorted(COMPRESS)), st.lists(st.binary(max_size=3000), max_size=5))
def test_what_an_encoder_sends_in_pieces_decodes_to_the_whole(name, parts):
    encoder = encodings.encoder(name)
    body = b"".join(encoder.compress(part) for part in parts) + encoder.flush()
    assert encodings.decode(body, name, MOST) == b"".join(parts)


@given(st.sampled_from(sorted(COMPRESS)), st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(name, body):
    try:
        encodings.decode(body, name, MOST)
    except Refusal as fault:
        assert fault.status == 400


@pytest.mark.parametrize("name", sorted(COMPRESS))
def test_a_cut_body_is_refused(name):
    with pytest.raises(Refusal, match="ends too early"):
        encodings.decode(COMPRESS[name](os.urandom(5000))[:-20], name, MOST)


@pytest.mark.parametrize("name", sorted(COMPRESS))
def test_a_small_body_that_would_fill_the_memory_is_refused(name):
    with pytest.raises(Refusal, match="too large") as found:
        encodings.decode(COMPRESS[name](bytes(MOST * 2)), name, MOST)
    assert found.value.status == 413


def test_an_unknown_encoding_names_the_known_ones():
    with pytest.raises(Refusal, match="zstd, lz4, gzip"):
        encodings.decode(b"x", "snappy", MOST)


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", None),
        ("br", None),
        ("gzip", "gzip"),
        ("gzip, zstd", "zstd"),
        ("lz4,zstd,gzip,deflate", "zstd"),
        ("deflate;q=0.5", "deflate"),
        ("zstd;q=0, gzip", "gzip"),
    ],
)
def test_the_answer_is_in_an_encoding_that_the_client_takes(header, chosen):
    assert encodings.accepted(header) == chosen


@given(st.binary())
def test_the_data_of_an_insert_are_what_follows_the_line_of_its_format(data):
    found = split_insert(b"INSERT INTO t (a, `FORMAT b`) FORMAT Native\n" + data)
    assert found is not None
    assert (found.head, found.format, found.data) == (b"INSERT INTO t (a, `FORMAT b`) ", "Native", data)


@pytest.mark.parametrize(
    ("text", "head", "form", "data"),
    [
        (b"insert into t format CSV 1,2\n", b"insert into t ", "CSV", b"1,2\n"),
        (b"INSERT INTO t FORMAT CSV\r\n1,2", b"INSERT INTO t ", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT CSV\n\n1,2", b"INSERT INTO t ", "CSV", b"\n1,2"),
        (b"INSERT INTO t FORMAT JSONEachRow{}", b"INSERT INTO t ", "JSONEachRow", b"{}"),
        (b"/* a */ -- b\nINSERT INTO t FORMAT CSV\n", b"/* a */ -- b\nINSERT INTO t ", "CSV", b""),
        (b"INSERT INTO t SETTINGS a=1 FORMAT CSV\nx", b"INSERT INTO t SETTINGS a=1 ", "CSV", b"x"),
        (
            b"INSERT INTO t SETTINGS a='FORMAT X' FORMAT CSV\nx",
            b"INSERT INTO t SETTINGS a='FORMAT X' ",
            "CSV",
            b"x",
        ),
    ],
)
def test_where_the_data_of_an_insert_begin(text, head, form, data):
    found = split_insert(text)
    assert found is not None
    assert (found.head, found.format, found.data) == (head, form, data)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"SELECT 1 FORMAT CSV",
        b"INSERT INTO t VALUES (1, 'FORMAT CSV')",
        b"INSERT INTO t SELECT 1 FORMAT CSV",
        b"INSERT INTO t (a) WITH x AS (SELECT 1) SELECT * FROM x",
        b"INSERT INTO t FROM INFILE 'x' FORMAT CSV",
        b"SELECT 'INSERT INTO t FORMAT CSV'",
        b"INSERT INTO t",
        b"INSERT INTO t FORMAT",
    ],
)
def test_other_statements_have_no_data_of_their_own(text):
    assert split_insert(text) is None


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "arguments", "writes"),
    [
        ({}, {}, False),
        ({}, {"user": "default"}, False),
        (basic("default", ""), {}, False),
        ({"X-ClickHouse-User": "default"}, {}, False),
        (basic("writer", "secret"), {}, True),
        ({"X-ClickHouse-User": "writer", "X-ClickHouse-Key": "secret"}, {}, True),
        ({}, {"user": "writer", "password": "secret"}, True),
    ],
)
def test_anybody_reads_and_the_writer_writes(headers, arguments, writes):
    assert access.may_write(headers, arguments, "secret") is writes


@pytest.mark.parametrize(
    ("headers", "arguments"),
    [
        ({}, {"user": "writer"}),
        ({}, {"user": "writer", "password": "wrong"}),
        ({}, {"user": "writer", "password": "sécret"}),
        ({}, {"user": "admin"}),
        ({}, {"password": "secret"}),
        (basic("default", "secret"), {}),
        ({"Authorization": "Bearer secret"}, {}),
        ({"Authorization": "Basic !!!"}, {}),
        ({"X-ClickHouse-Key": "secret"}, {"user": "writer", "password": "secret"}),
    ],
)
def test_wrong_credentials_are_refused_and_never_taken_for_a_reader(headers, arguments):
    with pytest.raises(Refusal) as found:
        access.may_write(headers, arguments, "secret")
    assert (found.value.code, found.value.status) == (516, 403)
    assert "secret" not in found.value.text


@pytest.mark.parametrize("host", ["127.0.0.1:8123", "localhost", "LOCALHOST:1", "[::1]:8123", "10.0.0.1", ""])
def test_names_of_this_machine(host):
    assert access.is_local_name(host, "127.0.0.1")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8123", "localhost.evil.example", "127.0.0.1.evil"]
)
def test_names_that_others_can_point_here(host):
    assert not access.is_local_name(host, "127.0.0.1")


def test_the_token_is_made_once_and_only_for_its_owner(tmp_path):
    token = access.token_of(tmp_path)
    assert len(token) >= 40
    assert access.token_of(tmp_path) == token == access.read_token(tmp_path)
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


def test_a_missing_or_empty_token_says_what_to_do(tmp_path):
    with pytest.raises(FeedbackError, match="start `feedback store` once"):
        access.read_token(tmp_path)
    (tmp_path / "token").touch()
    with pytest.raises(FeedbackError, match="start `feedback store` once"):
        access.token_of(tmp_path)


@pytest.mark.parametrize(
    ("text", "code", "status"),
    [
        ("Streaming query failed: Code: 395. DB::Exception: no. (X)", 395, 500),
        ("Code: 73. DB::Exception: Code: 62. DB::Exception: no. (X) (version 26.9.1). (X)", 62, 400),
        ("Code: 60. DB::Exception: no. (X)", 60, 404),
        ("Code: 62. DB::Exception: no. (X)", 62, 400),
        ("something else", 1002, 500),
    ],
)
def test_errors_of_the_engine_keep_their_code_and_get_the_servers_status(text, code, status):
    fault = of_engine(RuntimeError(text))
    assert (fault.code, fault.status) == (code, status)
    assert fault.text in ("something else", f"Code: {code}. DB::Exception: no. (X)")
