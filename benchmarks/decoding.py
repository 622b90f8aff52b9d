"""Compare ways to decode the body of a find into records, and measure the cost of a retry loop.

    python benchmarks/decoding.py [--quick] [--json FILE]

All typed contenders have the documented fields and skip the custom data. The two rows "every field read" decode and
read the custom data as well. The script reports targets and asserts nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

import attrs
import bodies
import cattrs
import fields
import msgspec
import orjson
from contenders import OURS_READ, pydantic_body, read_every_field, read_every_field_of_models
from measuring import Table, command_line, cpu_of, finish, interleave
from tenacity import AsyncRetrying, stop_after_attempt

from calls_in_progress_async import CurrentCalls
from calls_in_progress_async.records.results import structure_calls

SIZES = (1, 20, 200, 5000)
Time = datetime | None
KINDS: dict[str, Any] = dict.fromkeys(fields.TIMES, Time) | dict.fromkeys(fields.TEXTS, str | None)
KINDS[fields.FLAG] = bool | str | None
AttrsCall = attrs.make_class("AttrsCall", {name: attrs.field(default=None, type=kind) for name, kind in KINDS.items()})
AttrsBody = attrs.make_class("AttrsBody", {"current_calls": attrs.field(type=list[AttrsCall])})
StructCall = msgspec.defstruct("StructCall", [(name, kind, None) for name, kind in KINDS.items()], gc=False)
StructBody = msgspec.defstruct("StructBody", [("current_calls", list[StructCall])])

PYDANTIC_READ = "pydantic, every field read"
OURS, MSGSPEC, CATTRS = "ours: records", "msgspec into attrs", "orjson + cattrs, default, into attrs"


def with_cattrs() -> Callable[[bytes], Any]:
    converter = cattrs.Converter()
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    converter.register_structure_hook_func(
        lambda kind: kind == Time, lambda text, _: None if text is None else datetime.fromisoformat(text)
    )
    converter.register_structure_hook(bool | str | None, lambda value, _: value)
    return lambda body: converter.structure(orjson.loads(body), AttrsBody)


def ours(body: bytes) -> CurrentCalls:
    return CurrentCalls(structure_calls(body, strict=False).calls)


def contenders() -> dict[str, Callable[[bytes], Any]]:
    validate = pydantic_body().model_validate_json
    return {
        "json.loads, dicts only": json.loads,
        "orjson.loads, dicts only": orjson.loads,
        CATTRS: with_cattrs(),
        PYDANTIC_READ: lambda body: read_every_field_of_models(validate(body)),
        MSGSPEC: msgspec.json.Decoder(AttrsBody).decode,
        "msgspec into Struct": msgspec.json.Decoder(StructBody).decode,
        OURS: ours,
        OURS_READ: lambda body: read_every_field(ours(body)),
    }


def microseconds(work: Callable[[], object], size: int, least: float) -> float:
    return cpu_of(work, least) / size * 1e6


def decoding(quick: bool) -> Iterator[Table]:
    table = Table("Decoding the body of a find", "us a call")
    for size in SIZES:
        works = {name: partial(decode, bodies.body(size)) for name, decode in contenders().items()}
        works["ours, a bad field in one call of ten"] = partial(ours, bodies.body_with_bad_records(size))
        column = f"{size:,} call{'s' * (size > 1)} a body"
        timed = {name: partial(microseconds, work, size, 0.01 if quick else 0.05) for name, work in works.items()}
        interleave(2 if quick else 9, timed, lambda name, figure, column=column: table.add(name, column, figure))
    table.judge("ours / msgspec into attrs", OURS, MSGSPEC, 1.5)
    table.judge("ours / default cattrs", OURS, CATTRS, 0.30)
    table.judge("ours / orjson.loads", OURS, "orjson.loads, dicts only", None)
    table.judge("every field read: ours / pydantic", OURS_READ, PYDANTIC_READ, None)
    yield table


async def nothing() -> None:
    """Stand for a request without a failure."""


async def through_tenacity() -> None:
    await AsyncRetrying(stop=stop_after_attempt(3))(nothing)


async def cpu_of_await(work: Callable[[], Any], count: int) -> float:
    start = time.process_time()
    for _ in range(count):
        await work()
    return (time.process_time() - start) / count * 1e6


def retry_loops(quick: bool) -> Iterator[Table]:
    """Measure the cost of a retry loop for a call without a failure."""
    table = Table("A retry loop around a call without a failure", "us a call")
    count = 500 if quick else 5000
    works = {"awaited": nothing, "through tenacity's AsyncRetrying": through_tenacity}
    timed = {name: (lambda work=work: asyncio.run(cpu_of_await(work, count))) for name, work in works.items()}
    interleave(2 if quick else 9, timed, lambda name, figure: table.add(name, "", figure))
    yield table


def tables(quick: bool) -> Iterator[Table]:
    yield from decoding(quick)
    yield from retry_loops(quick)


if __name__ == "__main__":
    options = command_line(__doc__)
    finish(tables(options.quick), options)
