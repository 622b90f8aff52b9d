"""Measure each short step of a find by itself with pyperf.

    python benchmarks/micro.py [--quick] [--json FILE]

pyperf measures in processes of its own; its other options work too.
"""

from __future__ import annotations

import socket
from pathlib import Path

import bodies
import pyperf
from contenders import ADVERTISER
from measuring import Table, show, store

from calls_in_progress_async import CurrentCalls, CurrentCallsRequest, Organization
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.limits.token_bucket import TokenBucket
from calls_in_progress_async.phone_numbers import e164
from calls_in_progress_async.records.results import structure_calls
from calls_in_progress_async.watch import listing

RESPONSE = b"x" * 2048


def main() -> None:
    runner = pyperf.Runner()
    runner.argparser.add_argument("--quick", action="store_true", help="few processes, for a first look")
    runner.argparser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    options = runner.parse_args()
    if options.quick:
        options.processes, options.values, options.min_time = 2, 2, 0.01
    options.quiet = True
    table = Table("The steps of a find", "us")
    for name, work in steps().items():
        measured = runner.bench_func(name, *work)
        if measured is not None and not options.worker:
            for value in measured.get_values():
                table.add(name, "", value * 1e6)
    if options.worker:
        return
    show(table)
    if options.json:
        store([table], options.json, quick=options.quick)


def steps() -> dict[str, tuple]:
    """Return functions and their arguments, by name."""
    one, twenty = bodies.body(1), bodies.body(20)
    request, wire_format = CurrentCallsRequest(organization=ADVERTISER), WireFormat()
    bucket = TokenBucket(rate=1e9, burst=1e9)
    (call,) = structure_calls(one, strict=False).calls
    last = listing.read(twenty, None, strict=False)
    sockets, buffer = socket.socketpair(), memoryview(bytearray(2**18))

    return {
        "make an organization": (Organization.advertiser, 25),
        "validate the request": (make_request,),
        "write the request": (request.wire, wire_format),
        "take a token": (bucket.try_acquire,),
        "a phone number, seen before": (number_seen_before,),
        "1 call: bytes to records": (records, one),
        "20 calls: bytes to records": (records, twenty),
        "20 calls: a poll without change": (poll, twenty, last),
        "read raw": (lambda: call.raw,),
        "send and receive 2 kB, new memory of 256 KiB for the read": (receive, *sockets),
        "send and receive 2 kB, one buffer for all reads": (receive_into, *sockets, buffer),
    }


def make_request() -> CurrentCallsRequest:
    return CurrentCallsRequest(organization=ADVERTISER)


def number_seen_before() -> str:
    return e164("calling_phone_number", "(818) 555-1234", region="US", validate="possible")


def records(body: bytes) -> CurrentCalls:
    return CurrentCalls(structure_calls(body, strict=False).calls)


def poll(body: bytes, last: listing.Listing) -> listing.Listing:
    return listing.read(body, last, strict=False)


def receive(server: socket.socket, client: socket.socket) -> bytes:
    server.send(RESPONSE)
    return client.recv(2**18)


def receive_into(server: socket.socket, client: socket.socket, buffer: memoryview) -> bytes:
    server.send(RESPONSE)
    return bytes(buffer[: client.recv_into(buffer)])


if __name__ == "__main__":
    main()
