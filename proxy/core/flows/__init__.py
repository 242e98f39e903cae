"""Conversations with the mirror as generators: they yield what to ask, are sent what came back, and return what was learned.

`exchange` holds the words (`Ask`, `Answer`, `NoAnswer`), `probe` asks whether a file can be had,
`wheel_metadata` reads METADATA out of a wheel by ranges.
Nothing here opens a connection: `upstream` drives the generators, and tests script them with `send()`.
"""
