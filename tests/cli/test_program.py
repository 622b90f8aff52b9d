"""Every way to end has its exit code and at most a few lines on stderr."""

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys

import click
import pytest

from calls_in_progress_async import Organization, __main__, __version__, errors
from calls_in_progress_async.cli import list_calls as list_module
from calls_in_progress_async.cli import sandbox as sandbox_module
from calls_in_progress_async.cli import watch_lines as lines_module
from calls_in_progress_async.cli.error_reports import message_of, report
from calls_in_progress_async.cli.exit_codes import ExitCode, combined, exit_code_of
from calls_in_progress_async.cli.program import program
from calls_in_progress_async.sandbox import Fault

PYTHON = (sys.executable, "-W", "error")


def test_version_and_help(capsys) -> None:
    """--help lists the exit codes and the sources of the token; -h is the same."""
    assert program.run(["--version"]) == 0
    assert __version__ in capsys.readouterr().out
    assert program.run(["-h"]) == 0
    shown = capsys.readouterr().out
    for words in ("130  Ctrl-C", "4  the named call", "CALLS_IN_PROGRESS_TOKEN_FILE", "demo", "list", "watch"):
        assert words in shown


def test_without_a_command_the_help_is_shown(capsys) -> None:
    """The help goes to stderr, as a usage error."""
    assert program.run([]) == 2
    assert "Usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["no-such"], ["list", "--no-such"], ["list", "advertiser"], ["list", "advertiser:0"], ["list", "\x1b"]],
)
def test_usage_errors(arguments, capsys) -> None:
    """A usage error prints the usage and one line, and exits with 2; nothing active reaches the terminal."""
    assert program.run(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Usage: ")
    assert shown.splitlines()[-1].startswith("error: ")
    assert "ORG must" not in shown
    assert "\x1b" not in shown


async def test_no_token(command_line) -> None:
    """A missing token exits with 3 and names the variable to set."""
    async with command_line() as line:
        done = await line.invoke("list", "advertiser:2", CALLS_IN_PROGRESS_TOKEN="")
        assert done.exit_code == 3
        assert "set CALLS_IN_PROGRESS_TOKEN" in done.stderr


async def test_a_token_cannot_be_an_argument(command_line) -> None:
    """No command has --token, because the list of processes would show it."""
    async with command_line() as line:
        for command in ("list", "update", "check", "watch"):
            assert "--token" not in (await line.invoke(command, "--help")).stdout


async def test_a_token_from_a_file(command_line, tmp_path) -> None:
    """CALLS_IN_PROGRESS_TOKEN_FILE names a file with the token."""
    (tmp_path / "token").write_text("sandbox-token\n")
    async with command_line() as line:
        done = await line.invoke(
            *("list", "advertiser:2"),
            CALLS_IN_PROGRESS_TOKEN="",
            CALLS_IN_PROGRESS_TOKEN_FILE=str(tmp_path / "token"),
        )
        assert done.exit_code == 0


@pytest.fixture
def fifo(tmp_path) -> str:
    """A FIFO without a writer."""
    os.mkfifo(tmp_path / "fifo")
    return str(tmp_path / "fifo")


async def test_ctrl_c_ends_a_wait_for_a_token(command_line, fifo) -> None:
    """Opening a FIFO waits for its writer."""
    async with command_line() as line:
        line.environment = {"CALLS_IN_PROGRESS_TOKEN_FILE": fifo}
        process = await line.start("list", "advertiser:2")
        with open(fifo, "wb"):  # returns once the program waits, and leaves it waiting for bytes
            process.send_signal(signal.SIGINT)
            done = await line.finish(process)
    assert (done.code, done.stdout) == (130, "")


async def test_a_token_from_a_pipe_is_read_once(command_line, fifo) -> None:
    """`check` makes several clients of one token."""
    async with command_line() as line:
        line.sandbox.start_call(Organization(2, "advertiser"))
        line.environment |= {"CALLS_IN_PROGRESS_TOKEN": "", "CALLS_IN_PROGRESS_TOKEN_FILE": fifo}
        done = await line.in_shell(
            'echo sandbox-token > "$CALLS_IN_PROGRESS_TOKEN_FILE" & exec "$@"', *("check", "advertiser:2")
        )
    assert (done.code, done.stderr) == (0, "")


async def test_a_wrong_token(command_line) -> None:
    """A wrong token exits with 3, and no message has the token."""
    async with command_line() as line:
        line.environment["CALLS_IN_PROGRESS_TOKEN"] = "wrong-one"
        done = await line.execute("list", "advertiser:2")
        assert done.code == 3
        assert done.stderr.startswith("error: advertiser:2: HTTP 401: NotAuthorized")
        assert "hint: is CALLS_IN_PROGRESS_TOKEN right" in done.stderr
        assert "wrong-one" not in done.stderr


async def test_a_server_that_is_down(command_line) -> None:
    """A server that is down exits with 1."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with command_line() as line:
            done = await line.execute("list", "advertiser:2", "--base-url", url, "--timeout", "0.2")
    assert done.code == 1
    assert done.stderr.startswith("error: advertiser:2: ")
    assert "Traceback" not in done.stderr


async def test_the_spelling_of_the_type(command_line) -> None:
    """The hint names the option of the command line."""
    async with command_line(organization_type_spelling="capitalized") as line:
        done = await line.invoke("list", "advertiser:2")
        assert done.exit_code == 1
        assert "hint: try --organization-type-case capitalized" in done.stderr
        assert (await line.invoke("list", "advertiser:2", "--organization-type-case", "capitalized")).exit_code == 0


async def test_the_vendors_error_handle_is_reported(command_line) -> None:
    """The error handle, for the vendor's support, is reported."""
    async with command_line(faults=[Fault(status=500)]) as line:
        done = await line.invoke("update", "advertiser:2", "--transaction-id", "A", "--set", "a=b", "--timeout", "30")
        assert done.exit_code == 1
        assert "error handle: 1228118400" in done.stderr


async def test_a_host_on_the_command_line_wins(command_line) -> None:
    """A host on the command line overrides the variables of both forms."""
    arguments = ("update", "advertiser:2", "--transaction-id", "A", "--set", "a=b", "--dry-run")
    async with command_line() as line:
        assert "https://acme.invoca.net/" in (await line.invoke(*arguments, "--network", "acme")).stdout
        url = ("--base-url", "https://example.com")
        shown = await line.invoke(*arguments, *url, CALLS_IN_PROGRESS_BASE_URL="", CALLS_IN_PROGRESS_NETWORK="acme")
        assert "https://example.com/" in shown.stdout
        assert (await line.invoke(*arguments, *url, "--network", "acme")).exit_code == 2
        assert (await line.invoke("list", "advertiser:2", "--rate", "nan")).exit_code == 2


async def test_variables_from_a_windows_file(command_line) -> None:
    """A carriage return at the end of a variable, as `source .env` leaves it, does no harm."""
    async with command_line() as line:
        variables = {name: f"{value}\r" for name, value in line.environment.items()}
        case = {"CALLS_IN_PROGRESS_ORGANIZATION_TYPE_CASE": "capitalized\r"}
        done = await line.invoke("list", "advertiser:2", **variables, **case)
        assert (done.exit_code, done.stderr) == (0, "0 calls in progress in 1 organization\n")
        assert "organization_type=Advertiser" in line.sandbox.requests[0].path


async def test_rate_is_kept_to(command_line) -> None:
    """--rate limits the client, and loses nothing."""
    async with command_line() as line:
        assert (await line.invoke("list", "advertiser:2", "advertiser:3", "--rate", "1000")).exit_code == 0


async def test_ctrl_c_while_waiting_for_a_response(command_line) -> None:
    """Ctrl-C exits with 130 and writes nothing to stderr."""
    async with command_line(faults=[Fault(kind="hang")]) as line:
        process = await line.start("list", "advertiser:2")
        while not line.sandbox.requests:
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        done = await line.finish(process)
        assert (done.code, done.stdout) == (130, "")


async def test_the_server_dies_during_a_request(command_line) -> None:
    """A lost server exits with 1, one error for each organization, and no traceback."""
    async with command_line(faults=[Fault(kind="hang")]) as line:
        process = await line.start("list", "advertiser:2", "--timeout", "1")
        while not line.sandbox.requests:
            await asyncio.sleep(0.01)
        await line.sandbox.close()
        done = await line.finish(process)
        assert done.code == 1
        assert done.stderr.startswith("error: advertiser:2: ")
        assert "Traceback" not in done.stderr


def test_a_full_disk() -> None:
    """One line has the system's message."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*PYTHON, "-m", "calls_in_progress_async", "--help"], stdout=full, stderr=-1, check=False)
    assert (done.returncode, done.stderr) == (1, b"error: No space left on device\n")


def test_a_full_disk_in_this_process(monkeypatch, capsys) -> None:
    """The last flush into a full disk is one line too."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert program.run(["--version"]) == 1
    assert capsys.readouterr().err == "error: No space left on device\n"


def test_nobody_reads_what_is_left_over(monkeypatch) -> None:
    """The last flush into a closed pipe exits with 141."""
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sandbox_module, "run", lambda work: work.close() or sys.stdout.write("left over") * 0)
    for command in ("sandbox", "--version"):
        with open(os.dup(writing), "w", encoding="utf-8") as pipe:
            monkeypatch.setattr(sys, "stdout", pipe)
            assert program.run([command]) == 141
    os.close(writing)


def test_streams_that_are_no_files(monkeypatch) -> None:
    """An embedding program may have replaced the streams."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert program.run(["--version"]) == 0
    assert __version__ in sys.stdout.getvalue()


def test_the_shell_completes_words(monkeypatch, capsys) -> None:
    """The shell completes the names of commands."""
    for name, value in (("COMPLETE", "bash_complete"), ("WORDS", "calls-in-progress de"), ("CWORD", "1")):
        monkeypatch.setenv(f"_CALLS_IN_PROGRESS_{name}" if name == "COMPLETE" else f"COMP_{name}", value)
    with pytest.raises(SystemExit) as left:
        program.run([])
    assert (left.value.code, capsys.readouterr().out) == (0, "plain,demo\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_signals_in_this_process(number, code, options, monkeypatch, capsys) -> None:
    """Signals cancel the command, and it cleans up; a new line follows the terminal's ^C."""
    shown = []

    def show(text: str) -> None:
        shown.append(text)
        if text == "Ctrl-C stops it.":
            signal.raise_signal(number)

    monkeypatch.setattr(sandbox_module, "write_line", show)
    monkeypatch.setattr(
        sandbox_module, "write_json", lambda fields: (show(f"url    {fields['url']}"), show("Ctrl-C stops it."))
    )
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert program.run(["sandbox", "--fault-rate", "0.5", *options]) == code
    assert shown[0].startswith("url    http://127.0.0.1:")
    assert capsys.readouterr().err == ("\n" if code == 130 else "")


def test_a_watch_in_this_process(monkeypatch, capsys, tmp_path) -> None:
    """Ctrl-C saves the checkpoint; a closed pipe does not, because nobody read its last event."""
    monkeypatch.setenv("CALLS_IN_PROGRESS_TOKEN", "t")
    file = tmp_path / "checkpoint.json"
    arguments = ["watch", "advertiser:2", "--base-url", "http://127.0.0.1:1", "--timeout", "0.1", "--interval", "0.1"]
    for leave, code in ((_break_pipe, 141), (_interrupt, 130)):
        assert not file.exists()
        monkeypatch.setattr(lines_module, "write_line", leave)
        assert program.run([*arguments, "--checkpoint", str(file)]) == code
    assert file.exists()
    assert "1 failure" in capsys.readouterr().err


def _interrupt(_: str) -> None:
    signal.raise_signal(signal.SIGINT)


def _break_pipe(_: str) -> None:
    raise BrokenPipeError


def test_a_terminal_that_cannot_show_all_letters() -> None:
    """Letters beyond the terminal's encoding are escaped."""
    command = [*PYTHON, "-m", "calls_in_progress_async", "update", "advertiser:2", "--transaction-id", "A"]
    environment = {"PYTHONIOENCODING": "latin-1", "CALLS_IN_PROGRESS_TOKEN": "t"}
    done = subprocess.run([*command, "--set", "ł=ö", "--dry-run"], capture_output=True, check=False, env=environment)
    assert done.returncode == 0
    assert b"\\u0142" in done.stdout


@pytest.mark.parametrize("library", ["click", "rich"])
def test_without_the_extra_one_line_says_how_to_get_it(library) -> None:
    """Without the libraries of the extra, one line names it."""
    code = (
        f"import sys; sys.modules[{library!r}] = None; import calls_in_progress_async.__main__ as m; sys.exit(m.main())"
    )
    done = subprocess.run([*PYTHON, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b'The command line needs its extra: pip install "calls-in-progress-async[cli]"\n'


def test_the_core_does_not_import_the_command_line() -> None:
    """The core imports neither the command line nor click nor rich."""
    code = (
        "import sys, calls_in_progress_async; print({'click', 'rich', 'calls_in_progress_async.cli'} & {*sys.modules})"
    )
    assert subprocess.run([*PYTHON, "-c", code], capture_output=True, check=True).stdout == b"set()\n"


def test_main_in_this_process(monkeypatch, capsys) -> None:
    """`main` returns the exit code; another missing module is not mistaken for the extra."""
    monkeypatch.setattr(sys, "argv", ["calls-in-progress", "--version"])
    assert __main__.main() == 0
    name = "calls_in_progress_async.cli.program"
    for missing, code in ((KeyboardInterrupt(), 130), (ModuleNotFoundError("no click", name="click.core"), 2)):
        monkeypatch.setitem(sys.modules, name, _Raising(missing))
        assert __main__.main() == code
    monkeypatch.setitem(sys.modules, name, _Raising(ModuleNotFoundError("no attrs", name="attrs")))
    with pytest.raises(ModuleNotFoundError, match="attrs"):
        __main__.main()
    assert "pip install" in capsys.readouterr().err


class _Raising:
    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __getattr__(self, name: str) -> object:
        raise self._error


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (click.ClickException("no"), 1),
        (errors.ConnectionFailedError("no"), 1),
        (OSError(28, "No space left on device"), 1),
        (asyncio.CancelledError(), None),
    ],
)
def test_how_commands_end(raised, code, monkeypatch, capsys) -> None:
    """Every exception has its exit code; an unexplained cancellation is a bug and is not hidden."""

    async def raise_it(*_: object) -> int:
        raise raised

    monkeypatch.setattr(list_module, "_list", raise_it)
    if code is None:
        with pytest.raises(asyncio.CancelledError):
            program.run(["list", "advertiser:2"])
    else:
        assert program.run(["list", "advertiser:2"]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_codes_of_errors(capsys) -> None:
    """Every class of the tree has a code, and is reported without a traceback."""
    classes = [errors.CallsInProgressError]
    for each in classes:
        classes += each.__subclasses__()
        assert report(each("text \x1b", request_id="R\x07", may_have_been_applied=True)) in ExitCode
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert "note: request id R\\x07" in shown
    assert exit_code_of(errors.InvalidRequestError("no", parameter="token")) is ExitCode.TOKEN
    assert exit_code_of(errors.InvalidRequestError("no", parameter="id")) is ExitCode.USAGE


def test_several_results_have_one_code() -> None:
    """Several results have one code: their own if they agree, else 1."""
    ok, token, failed = ExitCode.OK, ExitCode.TOKEN, ExitCode.FAILED
    assert combined(set()) is ok
    assert combined({ok}) is ok
    assert combined({ok, token}) is token
    assert combined({token, ExitCode.NO_SUCH_CALL}) is failed


def test_the_summaries_of_the_commands_are_whole(capsys, monkeypatch) -> None:
    """The help of the group has the whole summary of each command at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    assert program.run(["--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, command in program.commands.items():
        assert f" {name} {command.get_short_help_str(1_000)} " in shown


@pytest.mark.parametrize(
    ("parameter", "problem", "message"),
    [
        (
            "interval",
            "must be a finite number of seconds, got nan",
            "--interval must be a finite number of seconds, got nan",
        ),
        ("custom_data['a']", "is empty", "--set 'a' is empty"),
        ("id", "must be 1 to 2^63-1, got 0", "ORG must be 1 to 2^63-1, got 0"),
        ("max_age", "must be a number of seconds or None, got 5", "--max-age must be a number of seconds, got 5"),
        (
            "shards",
            "must be 64, got 3: pass shards=64, or more",
            "--shards must be 64, got 3: pass --shards 64, or more",
        ),
        ("path", "must be a recording", "FILE must be a recording"),
        (
            "calling_phone_number",
            "comes only with destination_phone_number",
            "--calling-phone-number comes only with --destination-phone-number",
        ),
        (
            "transaction_id",
            "is missing, pass transaction_id or external_unique_id",
            "--transaction-id is missing, pass --transaction-id or --external-unique-id",
        ),
        (
            "transaction_id",
            "is empty, leave it out or pass None if there is none",
            "--transaction-id is empty, leave it out",
        ),
        ("base_url", "comes with network", "--base-url (CALLS_IN_PROGRESS_BASE_URL) comes with network"),
        (
            "external_unique_id",
            "must be new, got 'transaction_id'",
            "--external-unique-id must be new, got 'transaction_id'",
        ),
        ("network", "comes with base_url", "--network (CALLS_IN_PROGRESS_NETWORK) comes with --base-url"),
    ],
)
def test_messages_name_the_flags(parameter, problem, message) -> None:
    """A message names flags and variables instead of Python's parameters, and leaves quoted values alone."""
    error = errors.InvalidRequestError(f"{parameter} {problem}", parameter=parameter)
    assert message_of(error) == message


async def test_ignored_interrupts_stay_ignored(command_line) -> None:
    """After `nohup ... &`, SIGINT does nothing and SIGTERM stops the command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    async with command_line(faults=[Fault(kind="hang")]) as line:
        process = await line.start("list", "advertiser:2")
        while not line.sandbox.requests:
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.1)
        assert process.returncode is None
        process.send_signal(signal.SIGTERM)
        assert (await line.finish(process)).code == 143


COMMANDS = {
    "help": (["--help"], 0),
    "list": (["list", "advertiser:2", "--json"], 0),
    "file": (["list", "--organizations", "-"], 2),
    "watch": (["watch", "advertiser:2", "--seconds", "0.3"], 0),
    "demo": (["demo", "--seconds", "0.3"], 0),
    "update": (["update", "advertiser:2", "--transaction-id", "AB-1", "--set", "a=b"], 0),
}


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("name", COMMANDS)
async def test_closed_streams(command_line, closed, name) -> None:
    """With closed streams, every command does its work and exits as usual, without a traceback."""
    arguments, code = COMMANDS[name]
    async with command_line() as line:
        line.sandbox.start_call(Organization.advertiser(2), transaction_id="AB-1")
        done = await line.in_shell(f'exec "$@" {closed}', *arguments)
        assert done.code == code
        assert "Traceback" not in done.stdout + done.stderr
        assert "Error" not in done.stdout + done.stderr
        assert len(line.sandbox.updates) == (name == "update")
        if name == "list" and closed != ">&-" and "2" not in closed:
            assert json.loads(done.stdout)["call"]["transaction_id"] == "AB-1"


@pytest.mark.parametrize("unwritable", ["1</dev/null", "2</dev/null"])
async def test_an_unwritable_stream_is_one_line_before_anything_is_sent(command_line, unwritable) -> None:
    """A stream that is open for reading only ends the command at once."""
    arguments, _ = COMMANDS["update"]
    async with command_line() as line:
        done = await line.in_shell(f'exec "$@" {unwritable}', *arguments)
        assert (done.code, done.stdout) == (1, "")
        assert done.stderr == ("error: Bad file descriptor\n" if unwritable[0] == "1" else "")
        assert not line.sandbox.requests


def test_an_unwritable_stream_in_this_process(monkeypatch, capsys) -> None:
    """The line about an unwritable stdout has the system's message."""
    with open(os.devnull, encoding="utf-8") as unwritable:
        monkeypatch.setattr(sys, "stdout", unwritable)
        assert program.run(["--version"]) == 1
    assert capsys.readouterr().err == "error: Bad file descriptor\n"


def test_closed_streams_in_this_process(monkeypatch) -> None:
    """Without streams, as under pythonw, the null device takes their place; the missing extra is a code alone."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert program.run(["--version"]) == 0
    assert sys.stdout.name == sys.stdin.name + 1
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        os.close(stream.fileno())
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setitem(
        sys.modules,
        "calls_in_progress_async.cli.program",
        _Raising(ModuleNotFoundError("no click", name="click")),
    )
    assert __main__.main() == 2
