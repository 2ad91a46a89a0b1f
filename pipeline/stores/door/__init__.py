"""The door of the embedded store: the ClickHouse HTTP interface over chDB.

`request` reads what was asked, `access` and `judge` say who may, `engine` runs it, `answer` sends the result with
`native` and `encodings`, and `app` is the server.
"""
