"""Who may do what: anybody on this machine may read, user `writer` with the store's token may write."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import FeedbackError
from pipeline.stores.door.refusal import Code, refusal

WRITER = "writer"
READER = "default"
TOKEN_FILE = "token"  # noqa: S105 - the name of the file, not what is in it


def token_of(folder: Path) -> str:
    """The token of the store in `folder`, made now if there is none yet; the file is the owner's alone."""
    file = folder / TOKEN_FILE
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_token(folder)
    with os.fdopen(handle, "w") as out:
        token = secrets.token_urlsafe(32)
        out.write(token + "\n")
    return token


def read_token(folder: Path) -> str:
    """The token of a store that has been started before.

    Raises:
        FeedbackError: there is none, it is empty, or we may not read it.
    """
    file = folder / TOKEN_FILE
    try:
        token = file.read_text("ascii").strip()
    except FileNotFoundError:
        token = ""
    except (OSError, UnicodeDecodeError) as fault:
        msg = f"the store's token cannot be read: {fault}; run as its owner, or set FEEDBACK_STORE__TOKEN"
        raise FeedbackError(msg) from fault
    if not token:
        msg = f"there is no token in {file}: start `feedback store` once, or set FEEDBACK_STORE__TOKEN"
        raise FeedbackError(msg)
    return token


def may_write(headers: Mapping[str, str], arguments: Mapping[str, str], token: str) -> bool:
    """Whether this request may write; from headers, Basic authentication or the URL, as a server takes them.

    Raises:
        Refusal: a user that there is not, or a wrong password.
    """
    user, password = _credentials(headers, arguments)
    if user == WRITER and hmac.compare_digest(password.encode(), token.encode()):
        return True
    if user in ("", READER) and not password:
        return False
    raise refusal(
        Code.AUTHENTICATION_FAILED,
        f"{user or READER}: Authentication failed: reading needs no user and no password, "
        f"writing is for user `{WRITER}` with the token in the store's folder",
    )


def _credentials(headers: Mapping[str, str], arguments: Mapping[str, str]) -> tuple[str, str]:
    if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
        return headers.get("X-ClickHouse-User", ""), headers.get("X-ClickHouse-Key", "")
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as fault:
            raise refusal(Code.AUTHENTICATION_FAILED, "the Authorization header cannot be read") from fault
        return user, password
    if scheme:
        raise refusal(Code.AUTHENTICATION_FAILED, "of the Authorization schemes only Basic is known here")
    return arguments.get("user", ""), arguments.get("password", "")


def is_local_name(host: str, own: str) -> bool:
    """Whether a Host header names this machine.

    A web page elsewhere can point a name of its own at 127.0.0.1 and would then read the store through the
    browser; its name stands in the header.
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]").lower()
    if name in ("", "localhost", own.lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
