"""README as a newcomer takes it: every command, option, name and file that it mentions is there."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

import workbench as wb
from workbench.cli import app

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, flags=re.DOTALL)
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
SHELL = [line for kind, text in BLOCKS if kind == "console" for line in text.replace("\\\n", " ").splitlines()]
COMMANDS = [line for line in [*SHELL, *re.findall(r"`(workbench [^`]+)`", TEXT)] if line.startswith("workbench ")]


def test_blocks__are_found():
    assert len(PYTHON) >= 3
    assert len(COMMANDS) >= 25


@pytest.mark.parametrize("line", COMMANDS)
def test_command__and_its_options_are_there(line):
    _, name, *words = shlex.split(line, comments=True)
    command = get_command(app).commands[name]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    named = [word for word in words if word.startswith("-")]
    named += re.findall(r"(--[a-z][a-z-]+)", line.partition("#")[2])  # the comment beside it names more of them
    assert set(named) <= options


@pytest.mark.parametrize("block", PYTHON)
def test_python__names_are_there(block):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            whose = {"wb": wb, "project": wb.Project}.get(node.value.id)
            assert whose is None or hasattr(whose, node.attr) or node.attr in wb.Project.__annotations__, node.attr


def test_words__name_what_there_is():
    methods, names = re.findall(r"`project\.(?!sqlite)(\w+)", TEXT), re.findall(r"`wb\.(\w+)", TEXT)
    inside, linked = re.findall(r"`((?:notebooks|tests)/[\w./-]+)`", TEXT), re.findall(r"\]\(((?!http)[^)]+)\)", TEXT)
    assert all((methods, names, inside, linked)), "the README is written in another way now"
    assert [name for name in methods if not hasattr(wb.Project, name)] == []
    assert [name for name in names if not hasattr(wb, name)] == []
    assert [path for path in inside + linked if not (ROOT / path).exists()] == []
