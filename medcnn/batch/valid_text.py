"""Text that any reader of UTF-8 takes, whatever a file was called."""

from __future__ import annotations


def valid(text: str) -> str:
    r"""The same text, but for what is no Unicode: a byte of a file's name that is no UTF-8 becomes `\xff`.

    Python keeps such bytes as lone surrogates (PEP 383), which JSON for others, Parquet and HTML cannot hold.
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # surrogates that stand for no byte, as only a hand-written reference has them
        return text.encode("utf-8", "backslashreplace").decode()
