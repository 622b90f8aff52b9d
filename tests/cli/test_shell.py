"""The command line in a shell: completion, examples, the man page, and NO_COLOR."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import get_completion_class

from calls_in_progress_async.cli.examples import EXAMPLES
from calls_in_progress_async.cli.program import program

ROOT = Path(__file__).parents[2]
ACME = "advertiser:2"

COMPLETIONS = {
    "bash": """
        source {script}
        COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _calls_in_progress_completion calls-in-progress
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """,
    # zsh lists words only at a keyboard, so the function that would list them prints them.
    "zsh": """
        compdef() {{ [[ $2 == calls-in-progress ]] }}
        compadd() {{ print -l -- ${{(P)@[-1]}} }}
        source {script}
        words=({words}) CURRENT=$#words
        _calls_in_progress_completion
    """,
    "fish": """
        source {script}
        complete -C "{words}"
    """,
}
"""Programs that print the completions of the last word, by shell."""


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """Put the program on the PATH, and return a folder for the shell."""
    command = tmp_path / "calls-in-progress"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m calls_in_progress_async "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))  # the person's own settings stay out
    return tmp_path


@pytest.mark.parametrize("shell", COMPLETIONS)
def test_a_shell_completes_words(shell, installed) -> None:
    """The documented line defines completion in bash, zsh and fish."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    page = (ROOT / "docs" / "reference" / "commands.md").read_text()
    assert f"_CALLS_IN_PROGRESS_COMPLETE={shell}_source calls-in-progress" in page
    script = installed / "completion"
    completion = get_completion_class(shell)
    assert completion is not None
    script.write_text(completion(program, {}, "calls-in-progress", "_CALLS_IN_PROGRESS_COMPLETE").source())
    source = COMPLETIONS[shell].format(script=script, words="calls-in-progress update --method p")
    shown = subprocess.run([shell, "-c", source], capture_output=True, text=True, check=False)
    assert set(shown.stdout.lower().split()) == {"put", "post"}, shown


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> dict[str, click.Command]:
    """Return the commands below a group that are no groups."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        here = (*path, name)
        found |= leaves(command, here) if isinstance(command, click.Group) else {" ".join(here): command}
    return found


def test_each_command_has_examples_with_real_options(tmp_path, monkeypatch) -> None:
    """The help of each command ends with examples, and the command accepts them."""
    monkeypatch.chdir(tmp_path)
    for name in ("all.txt", "recording.jsonl"):
        (tmp_path / name).write_text(f"{ACME}\n")
    commands = leaves(program)
    assert set(EXAMPLES) == set(commands)
    parent = click.Context(program, info_name="calls-in-progress", **program.context_settings)
    for name, command in commands.items():
        shown = command.get_help(click.Context(command, info_name=name, parent=parent))
        for example in EXAMPLES[name]:
            line = f"    calls-in-progress {example}"
            assert f"\n{line}" in shown
            assert len(line) <= 80
            words = shlex.split(re.split(r" [|>]", example)[0])[len(name.split()) :]
            with command.make_context(name, words, parent=parent):  # raises for an unknown option or a wrong value
                pass


def test_each_option_has_a_help_text() -> None:
    """No option leaves its meaning to its name."""
    for name, command in leaves(program).items():
        for option in command.params:
            assert not isinstance(option, click.Option) or option.help, f"{name} {option.name}"


def test_the_man_page_is_written_from_the_help() -> None:
    """The man page shows the help of every command as it is now."""
    file = ROOT / "docs" / "man_page.py"
    specification = importlib.util.spec_from_file_location("man_page", file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), "docs/calls-in-progress.1 is old: run python docs/man_page.py"


def test_the_man_page_is_correct_roff() -> None:
    """`man` formats the page without a warning."""
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    page = str(ROOT / "docs" / "calls-in-progress.1")
    shown = subprocess.run(
        ["man", "--warnings", "-l", page],
        env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr == ""
    assert "calls-in-progress list advertiser:25 network:1" in shown.stdout
    assert "CALLS_IN_PROGRESS_TOKEN_FILE" in shown.stdout


@pytest.mark.parametrize("no_color", ["", "1"])
async def test_no_color_leaves_out_colors(no_color, command_line, monkeypatch) -> None:
    """A terminal gets no color with NO_COLOR, and colors with an empty one."""
    monkeypatch.setenv("NO_COLOR", no_color)
    async with command_line() as line:
        shown = await line.on_terminal(monkeypatch, "check", ACME)
    assert shown.code == 0
    assert bool(re.search(r"\x1b\[(\d+;)*3\d(;\d+)*m", shown.output)) == (no_color == "")
