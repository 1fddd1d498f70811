# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From what a client sent to the tokens of a text: request forms, encodings and limits."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from tokenizers import Tokenizer

T = TypeVar("T")
logger = logging.getLogger(__name__)

TOKENIZER = Path(__file__).resolve().parent.parent / "tokenizer.json"  # in the archive
# What one client may ask for.
MAX_TEXTS = 64  # in one request
MAX_BYTES = 100_000  # of one text as UTF-8, with its pair
MAX_TOKENS = 512  # of one text, with those that the tokenizer adds
MAX_BODY = 6 * MAX_TEXTS * MAX_BYTES  # of a request; JSON may write a letter as six, as in \u00e9
MAX_NESTED = 100_000  # lists and mappings in a JSON body, each of which takes memory

NAMES = ("text", "inputs", "data")  # of a text in JSON and in forms
PAIR = "text_pair"  # of the second one of a pair
LISTS = ("instances", "inputs")  # of several in JSON
FORMS = (
    'send a text as text/plain, JSON {"text": "..."} as application/json, or a form with the field '
    'text; several as {"instances": [...]}'
)
ESCAPE = '{"text": "..."}'  # where a text is text, whatever it looks like
JSON = re.compile(r'\s*(\{|\[\s*(["{\[]|\]))')  # and no text that begins with a [
FORM = re.compile(r"(?i)--[^\n]+\ncontent-disposition: *form-data")  # which no server has read


class ItemError(ValueError):
    """An item of a request that gets no prediction; message and HTTP status are for its client."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """The texts of one request as sent; `is_list` if a list of predictions is expected."""

    items: list[Any]
    is_list: bool = False


@dataclass(frozen=True)
class Text:
    """A text, or a pair of texts that get one prediction."""

    first: str
    second: str | None = None


def read_request(row: dict[str, Any]) -> Request:
    """Return the texts of one request.

    Args:
        row: {"body": <bytes, text or JSON>}, or one entry per field of a form. A body that looks
            like JSON is JSON. {"instances": [...]} and {"inputs": [...]} carry a list.
    """
    try:
        content = read_body(row["body"]) if row.keys() == {"body"} else read_form(row)
    except ItemError as error:
        return Request([error])
    lists = [content[name] for name in LISTS if isinstance(content.get(name), list)]
    if not lists:
        return Request([content])
    if len(content) > 1:
        return Request([ItemError(f"{', '.join(content)} cannot be read together; {FORMS}")])
    if (found := len(lists[0])) > MAX_TEXTS:
        return Request([ItemError(f"{found} texts; at most {MAX_TEXTS} in one request", 413)])
    return Request(lists[0], is_list=True)


def read_body(body: Any) -> dict[str, Any]:
    """Return what the body of a request holds, by names as JSON has them."""
    if isinstance(body, (bytes, bytearray)):
        refuse_long(len(body), MAX_BODY)
        body = decode(body)
        if FORM.match(body):
            problem = "this is a form without Content-Type: multipart/form-data; boundary=..."
            raise ItemError(f"{problem}; a text that looks like one goes into {ESCAPE}", 415)
        if JSON.match(body):
            body = parse_json(body)
    if isinstance(body, list):
        return {"instances": body}
    return body if isinstance(body, dict) else {"text": body}


def read_form(row: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a form, by names as JSON has them."""
    if not row or row.keys() - {*NAMES, PAIR}:
        raise ItemError(f"the body was read as a form, which has no field of that name; {FORMS}")
    return {name: decode(x) if isinstance(x, (bytes, bytearray)) else x for name, x in row.items()}


def read_items(payloads: Iterable[Any], prepare: Callable[[Text], T]) -> list[T | ItemError]:
    """Return each text of a request as `prepare` makes it, or what is wrong with it.

    Args:
        payloads: What `read_request` found, or plain texts as UTF-8.
        prepare: Takes a text.
    """
    items: list[T | ItemError] = []
    for payload in payloads:
        try:
            items.append(prepare(payload_text(payload)))
        except ItemError as error:
            items.append(error)
        except Exception:
            logger.exception("the service fails on a text")
            items.append(ItemError("the service fails on this text", 500))
    return items


def decode(data: bytes | bytearray) -> str:
    """Return the text that UTF-8 stands for, without a byte order mark."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ItemError(f"the text is not UTF-8 (byte {error.start}); {FORMS}") from None


def parse_json(text: str) -> Any:
    """Return the content of a JSON body, unless it holds absurdly many lists."""
    if sum(map(text.count, "{[")) > MAX_NESTED:
        raise ItemError(f"the JSON has more than {MAX_NESTED} lists and mappings", 413)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        advice = f"a text that looks like JSON goes into {ESCAPE}"
        raise ItemError(f"the JSON cannot be read: {error}; {advice}") from None


def payload_text(item: Any) -> Text:
    """Return a text.

    Args:
        item: The text itself, as UTF-8 or not, or {"text": ...}, perhaps with "text_pair".

    Raises:
        ItemError: It is none of these, or beyond the limits.
    """
    if isinstance(item, ItemError):
        raise item
    if isinstance(item, (bytes, bytearray)):
        item = read_body(item)
    if isinstance(item, str):
        item = {"text": item}
    names = item.keys() & set(NAMES) if isinstance(item, dict) else set()
    if len(names) != 1 or item.keys() - names - {PAIR}:
        raise ItemError('expected a text, or JSON {"text": "..."}, perhaps with "text_pair"')
    first = item[names.pop()]
    texts = [first, item[PAIR]] if item.get(PAIR) is not None else [first]
    if not all(isinstance(text, str) for text in texts):
        raise ItemError(f"expected text, not {', '.join(type(x).__name__ for x in texts)}")
    try:
        refuse_long(sum(len(text.encode()) for text in texts), MAX_BYTES)
    except UnicodeEncodeError as error:
        raise ItemError(f"the text has half a surrogate pair at {error.start}") from None
    if not all(text.strip() for text in texts):
        raise ItemError("the text is empty")
    return Text(*texts)


def refuse_long(size: int, limit: int) -> None:
    """Raise ItemError for more bytes than may be tokenized."""
    if size > limit:
        raise ItemError(f"the text has {size} bytes; at most {limit} are read", 413)


@cache
def tokenizer() -> Tokenizer:
    """Return the tokenizer in the archive, as archive.py has set it up."""
    return Tokenizer.from_file(str(TOKENIZER))


def tokenize(text: Text, tokenizer: Tokenizer) -> torch.Tensor:
    """Return the tokens of a text: int64 (2, length), their numbers, and 0 or 1 by sentence.

    Raises:
        ItemError: There are none.
    """
    encoding = tokenizer.encode(text.first, text.second)
    if not encoding.ids:
        raise ItemError("the tokenizer finds nothing in the text")
    return torch.tensor([encoding.ids, encoding.type_ids])
