"""Draw the diagrams of the documentation: ``python docs/diagrams/draw.py`` writes them beside this file."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple, TypeAlias

from calls_in_progress_async import errors

STYLE = """
svg { --card: #ffffff; --line: #d0d7de; --text: #1f2328; --soft: #59636e; --box: #f3f5f8;
  --blue: #0969da; --red: #c0392b; }
@media (prefers-color-scheme: dark) {
  svg { --card: #14181f; --line: #3d444d; --text: #e6edf3; --soft: #9aa4af; --box: #232a34;
    --blue: #58a6ff; --red: #ff7b72; }
}
.card { fill: var(--card); stroke: var(--line); }
.box { fill: var(--box); stroke: var(--line); }
.line { stroke: var(--line); fill: none; }
.arrow { stroke: var(--blue); fill: none; stroke-width: 1.5; }
.back { stroke-dasharray: 5 4; }
.lost { stroke: var(--red); }
.head { fill: var(--blue); }
.losthead { fill: var(--red); }
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--text); }
.soft { fill: var(--soft); }
.red { fill: var(--red); }
.name { font-weight: 600; }
.code { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
"""
WIDTH = 840
MARGIN = 24
LINE = 17
"""Pixels from one line of text to the next."""


class Send(NamedTuple):
    """An arrow from one participant to another. ``kind`` is ``""``, ``"back"`` for a reply, or ``"lost"``."""

    origin: int
    target: int
    text: str
    kind: str = ""


class Note(NamedTuple):
    """A box of text on the line of a participant."""

    at: int
    text: str


Step: TypeAlias = Send | Note


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "middle") -> str:
    """Draw one line of text."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'


def picture(height: float, title: str, parts: list[str]) -> str:
    """Return a whole picture on a card, which is readable on a page of any colour."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:g}" rx="8" class="card"/>',
            *parts,
            "</svg>\n",
        ]
    )


def sequence(title: str, participants: list[str], steps: list[Step]) -> str:
    """Draw the steps between participants, from top to bottom."""
    column = (WIDTH - 2 * MARGIN) / len(participants)
    lanes = [MARGIN + column * (number + 0.5) for number in range(len(participants))]
    drawn: list[str] = []
    y = MARGIN + 48.0
    for step in steps:
        if isinstance(step, Send):
            y += LINE * len(step.text.split("\n")) + 14
            drawn += _arrow(lanes, step, y)
        else:
            height = LINE * len(step.text.split("\n")) + 12
            drawn += _note(lanes[step.at], y + 12, height, step.text)
            y += height + 14
    frame: list[str] = []
    for x, name in zip(lanes, participants, strict=True):
        frame.append(f'<path d="M{x:g} {MARGIN + 32} V{y + 16:g}" class="line"/>')
        frame.append(f'<rect x="{x - 66:g}" y="{MARGIN}" width="132" height="32" rx="6" class="box"/>')
        frame.append(text(x, MARGIN + 21, name, "name"))
    return picture(y + 16 + MARGIN, title, frame + drawn)


def _arrow(lanes: list[float], step: Send, y: float) -> Iterator[str]:
    start, end = lanes[step.origin], lanes[step.target]
    side = 1 if end > start else -1
    lost = step.kind == "lost"
    if lost:
        end = start + (end - start) * 0.72
    tip = end - side * 2
    lines = step.text.split("\n")
    for number, line in enumerate(lines):
        yield text(
            (start + lanes[step.target]) / 2, y - 6 - LINE * (len(lines) - 1 - number), line, "red" if lost else ""
        )
    yield f'<path d="M{start:g} {y:g} H{tip - side * 6:g}" class="arrow {step.kind}"/>'
    if lost:
        yield f'<path d="M{end - 5:g} {y - 5:g} l10 10 m0 -10 l-10 10" class="arrow lost"/>'
    else:
        yield f'<path d="M{tip:g} {y:g} l{-side * 9} -4.5 v9 z" class="head"/>'


def _note(x: float, y: float, height: float, content: str) -> Iterator[str]:
    lines = content.split("\n")
    width = 7 * max(map(len, lines)) + 24
    x = min(max(x, MARGIN / 2 + width / 2), WIDTH - MARGIN / 2 - width / 2)
    yield f'<rect x="{x - width / 2:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" class="box"/>'
    for number, line in enumerate(lines):
        yield text(x, y + LINE * (number + 1) + 1.5, line, "soft")


HINTS = {
    "CallsInProgressError": "any error of a request",
    "InvalidRequestError": "nothing was sent: fix the argument",
    "ClientStateError": "the program uses the client wrongly",
    "ClientClosedError": "make a new client",
    "WrongLoopError": "one client for each loop and process",
    "RateLimitWaitError": "nothing was sent: shed load",
    "SupersededError": "a newer update counts",
    "TransportError": "there was no response",
    "ConnectionFailedError": "the request did not arrive",
    "ConnectionLostError": "it may have arrived",
    "RequestTimeoutError": "attempt_timeout is over",
    "DeadlineExceededError": "timeout is over",
    "TlsError": "the certificate is not trusted",
    "ResponseError": "the response is not the expected one",
    "AuthenticationError": "401",
    "PermissionDeniedError": "403",
    "RequestRejectedError": "400, 422, 403 with fields",
    "NotFoundError": "404",
    "CallNotFoundError": "404 on an update: the call has ended",
    "RateLimitedError": "429 after all retries",
    "ServerError": "5xx after all retries",
    "UnexpectedResponseError": "any other response",
    "ResponseTooLargeError": "over max_response_size",
    "RedirectRefusedError": "3xx",
}
"""A few words for each error."""


def error_tree() -> str:
    """Draw the classes of `errors`, each below its parent."""
    rows = list(_descend(errors.CallsInProgressError, 0))
    indent, height = 34, 27
    drawn: list[str] = []
    above: list[float] = []
    for number, (kind, depth) in enumerate(rows):
        x, y = MARGIN + indent * depth, MARGIN + height * (number + 0.5)
        above[depth:] = [y]
        if depth:
            drawn.append(f'<path d="M{x - 21.5:g} {above[depth - 1] + 10:g} V{y:g} H{x - 5:g}" class="line"/>')
        drawn.append(text(x, y + 4.5, kind.__name__, "code name", "start"))
        others = [each.__name__ for each in kind.__bases__ if not issubclass(each, errors.CallsInProgressError)]
        also = f" (also {', '.join(others)})" if depth and others else ""
        drawn.append(text(MARGIN + 390, y + 4.5, HINTS[kind.__name__] + also, "soft", "start"))
    return picture(2 * MARGIN + height * len(rows), "The tree of errors", drawn)


def _descend(kind: type[errors.CallsInProgressError], depth: int) -> Iterator[tuple[type[Exception], int]]:
    yield kind, depth
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            yield from _descend(each, depth + 1)


def find() -> str:
    """Draw a find with one retry."""
    code, client, limit, slots, server = range(5)
    return sequence(
        "A find that is retried once",
        ["your code", "client", "rate limit", "connections", "server"],
        [
            Send(code, client, "find(advertiser:25)"),
            Note(client, "check the arguments; start the deadline: timeout"),
            Send(client, limit, "one token, please"),
            Note(limit, "first come, first served; a 429 pauses here"),
            Send(limit, client, "granted", "back"),
            Send(client, slots, "a slot, then a connection"),
            Send(slots, server, "GET, attempt 1"),
            Send(server, client, "503", "back"),
            Note(client, "retry? cause, attempts left, retry budget, time left"),
            Note(client, "wait: full jitter, or Retry-After"),
            Send(client, limit, "one token, please"),
            Send(limit, client, "granted", "back"),
            Send(client, server, "GET, attempt 2"),
            Send(server, client, "200 and JSON", "back"),
            Note(client, "records; a malformed field is None and a problem"),
            Send(client, code, "CurrentCalls\nwith 2 attempts", "back"),
        ],
    )


def write() -> str:
    """Draw two updates of one call, the first with an unknown outcome."""
    ann, bob, client, server = range(4)
    return sequence(
        "Two updates of one call",
        ["Ann's task", "Bob's task", "client", "server"],
        [
            Send(ann, client, "update: Result = sale"),
            Send(client, server, "PUT Result = sale"),
            Send(bob, client, "update: Result = none"),
            Note(client, "same call: Bob's update queues behind Ann's"),
            Send(server, client, "the connection breaks", "lost"),
            Note(
                client,
                "Ann's may have been applied. A repetition could overwrite\nBob's newer value, so it is not repeated.",
            ),
            Send(client, ann, "SupersededError, may_have_been_applied = True", "back"),
            Send(client, server, "PUT Result = none"),
            Send(server, client, "200", "back"),
            Send(client, bob, "CallUpdate", "back"),
        ],
    )


def poll() -> str:
    """Draw two polls of a watch."""
    code, queue, calls, poller, server = range(5)
    return sequence(
        "Polls of a watch",
        ["your loop", "event queue", "known calls", "poller", "server"],
        [
            Note(poller, "advertiser:25 is due: once an interval"),
            Send(poller, server, "GET"),
            Send(server, poller, "200: calls A and B", "back"),
            Send(poller, calls, "the calls listed"),
            Note(calls, "compare by meaning: B is new, A is as before"),
            Send(calls, queue, "B started"),
            Send(code, queue, "anext(watch)"),
            Send(queue, code, "CallStarted(B)", "back"),
            Note(code, "the record is made on first access"),
            Send(poller, server, "GET, an interval later"),
            Send(server, poller, "200: call B", "back"),
            Send(poller, calls, "the calls listed"),
            Send(calls, queue, "A ended"),
            Send(code, queue, "checkpoint()"),
            Send(queue, code, "the calls as of the\nevents taken: A, B", "back"),
            Note(code, "resumed from it, a watch emits CallEnded(A)"),
        ],
    )


def fleet() -> str:
    """Draw a takeover in a fleet."""
    first, second, log, consumer = range(4)
    return sequence(
        "A takeover in a fleet",
        ["worker A", "worker B", "log (NATS)", "consumers"],
        [
            Send(first, second, "heartbeat"),
            Send(second, first, "heartbeat"),
            Note(second, "both compute the same owners from the heartbeats"),
            Send(first, log, "last messages of my shards?"),
            Send(log, first, "calls, and the sequence 41", "back"),
            Note(first, "poll the API"),
            Send(first, log, "events + state, if 41 is the last"),
            Send(log, consumer, "42: events"),
            Note(first, "poll: unchanged, nothing is sent"),
            Note(first, "dies, or is cut off"),
            Note(second, "no heartbeat for a lease: B takes the shards"),
            Send(second, log, "last messages?"),
            Send(log, second, "calls, and 42", "back"),
            Note(second, "poll the API"),
            Send(second, log, "state, if 42 is the last"),
            Note(log, "43, written even without events"),
            Send(first, log, "late message of A, if 42 is the last", "lost"),
            Note(log, "rejected: 43 is the last"),
        ],
    )


def pictures() -> dict[str, str]:
    """Return the content of each file by its name."""
    drawings = {"errors": error_tree, "find": find, "write": write, "poll": poll, "fleet": fleet}
    return {f"{name}.svg": draw() for name, draw in drawings.items()}


if __name__ == "__main__":
    for name, content in pictures().items():
        (Path(__file__).parent / name).write_text(content, encoding="utf-8")
