"""``sandbox`` runs until it is stopped."""

import json
import re
import signal

import pytest

from calls_in_progress_async import CallsInProgressClient, Organization, RateLimitedError, RetryPolicy, ServerError


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_the_sandbox_prints_its_address_and_stops_cleanly(command_line, number, code) -> None:
    """The sandbox prints its URL, its token and a working example; Ctrl-C and SIGTERM end it quietly."""
    async with command_line() as line:
        process = await line.start("sandbox", "--organizations", "3", "--seed", "9")
        assert process.stdout is not None
        printed = [(await process.stdout.readline()).decode() for _ in range(9)]
        url = re.match(r"url +(http://127\.0\.0\.1:\d+)\n", printed[0])
        assert url is not None
        assert printed[1] == "token  sandbox-token\n"
        assert printed[6] == "  calls-in-progress list advertiser:3\n"
        line.environment = dict(re.findall(r"(CALLS\w+)=(\S+)", printed[5]))
        assert (await line.execute("list", "advertiser:3")).code == 0
        process.send_signal(number)
        done = await line.finish(process)
        assert (done.code, done.stderr) == (code, "")


async def test_its_options_reach_the_server(command_line) -> None:
    """Rate limit, faults and port reach the server."""
    async with command_line() as line:
        arguments = ("sandbox", "--json", "--calls-per-organization", "0")
        limited = await line.start(*arguments, "--rate-limit", "0.01", "--rate-burst", "1")
        faulty = await line.start(*arguments, "--fault-rate", "1")
        for process, rejection in ((limited, RateLimitedError), (faulty, ServerError)):
            assert process.stdout is not None
            sandbox = json.loads(await process.stdout.readline())
            retry = RetryPolicy(max_attempts=1)
            async with CallsInProgressClient(token=sandbox["token"], base_url=sandbox["url"], retry=retry) as client:
                responses = [await client.find(Organization.advertiser(2))] if rejection is RateLimitedError else []
                with pytest.raises(rejection):
                    await client.find(Organization.advertiser(2))
                assert list(map(len, responses)) == [0] * len(responses)
            process.send_signal(signal.SIGINT)
            assert (await line.finish(process)).code == 130


async def test_a_port_that_is_taken(command_line) -> None:
    """A port in use is one line on stderr."""
    async with command_line() as line:
        done = await line.execute("sandbox", "--port", line.sandbox.url.rpartition(":")[2])
        assert done.code == 1
        assert done.stderr.startswith("error: ")
        assert "address already in use" in done.stderr
        assert len(done.stderr.splitlines()) == 1
