"""Finds the lines with torch-model-archiver in scripts and docs, and reads their options."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from generator.source import relative

ARCHIVER = "torch-model-archiver"
SUFFIXES = {
    ".sh", ".bash", ".md", ".rst", ".txt", ".mk", ".yml", ".yaml", ".bat", ".ps1", ".py", "",
}  # fmt: skip
SKIPPED = {
    "__pycache__", "build", "dist", "env", "logs", "model-store", "model_store", "node_modules",
    "site-packages", "venv",
}  # fmt: skip
MAX_BYTES = 1_000_000
MAX_FILES = 5000
MAX_DEPTH = 3  # folders

MAX_LENGTH = 10_000  # characters of a command
MAX_VALUE = 500  # characters of a variable
MAX_WORDS = 100  # of a command
MAX_COMMANDS = 50  # in a file

ASSIGNMENT = re.compile(
    r"^[ \t]*(?:(?:export|ENV|ARG)[ \t]+)?([A-Za-z_]\w*)[ \t]*[:?]?=[ \t]*(\S.*)$", re.MULTILINE
)
VARIABLE = re.compile(r"\$\{(\w+)\}|\$\((\w+)\)|\$(\w+)")
# In a list, as subprocess.run takes it: the archiver's closing quote, and each text or name.
LISTED = re.compile(r"[\"']\s*,")
WORD = re.compile(r"""[fr]?"([^"]*)"|[fr]?'([^']*)'|([A-Za-z_]\w*)""")
END = re.compile(r"^(&&|\|\|?|;|&|>>?|\d?>.*)$")


@dataclass(frozen=True)
class Command:
    """A line that makes an archive. What it does not have, or leaves to a variable, is "".

    Attributes:
        where: file:line.
        folder: of the file, to which its paths may be relative.
        model_name: of the archive.
        version: of the model.
        handler: a file, or the name of one of TorchServe's own.
        model_file: with the network's class.
        serialized_file: the checkpoint.
        extra_files: further files in the archive.
        requirements_file: what pip installs for the model.
        config_file: TorchServe's settings of the model.
    """

    where: str
    folder: Path
    model_name: str = ""
    version: str = ""
    handler: str = ""
    model_file: str = ""
    serialized_file: str = ""
    extra_files: tuple[str, ...] = ()
    requirements_file: str = ""
    config_file: str = ""

    @property
    def content(self) -> tuple[Any, ...]:
        """All that it says."""
        return (
            self.model_name, self.version, self.handler, self.model_file, self.serialized_file,
            self.extra_files, self.requirements_file, self.config_file,
        )  # fmt: skip

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files that make one archive another."""
        names = (self.handler, self.serialized_file, self.model_file)
        return tuple(name.replace("\\", "/").rpartition("/")[2] for name in names)


class Parser(argparse.ArgumentParser):
    """The archiver's options; its own parser would end the process at the first mistake."""

    def error(self, message: str) -> NoReturn:
        """Raise ValueError."""
        raise ValueError(message)


def parser() -> Parser:
    """Return a parser of torch-model-archiver's options."""
    options = Parser(prog=ARCHIVER, add_help=False)
    for flags in (
        ("--model-name",), ("--version", "-v"), ("--handler",), ("--model-file",),
        ("--serialized-file",), ("--extra-files",), ("--requirements-file", "-r"),
        ("--config-file", "-c"), ("--export-path",), ("--archive-format",), ("--runtime",),
    ):  # fmt: skip
        options.add_argument(*reversed(flags), default="")
    options.add_argument("-f", "--force", action="store_true")
    return options


def find_commands(root: Path) -> list[Command]:
    """Return the commands in the text files of a folder; of equal ones, the first."""
    found: dict[tuple[Any, ...], Command] = {}
    for path in files_below(root):
        if path.suffix.lower() not in SUFFIXES or path.stat().st_size > MAX_BYTES:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if ARCHIVER in text:
            for command in commands_in(text, path, root):
                found.setdefault(command.content, command)
    return list(found.values())


def files_below(root: Path) -> Iterator[Path]:
    """Yield the files of a project, not of its environments and outputs; links are not followed."""
    count = 0
    for folder, folders, names in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        folders[:] = sorted(
            name
            for name in folders
            if depth < MAX_DEPTH and name not in SKIPPED and not name.startswith(".")
        )
        for name in sorted(names):
            path = Path(folder, name)
            count += 1
            if count > MAX_FILES:
                return
            if path.is_file():
                yield path


def commands_in(text: str, path: Path, root: Path) -> Iterator[Command]:
    """Yield the commands in a text."""
    found = ASSIGNMENT.findall(text)
    variables = {name: value.strip(" \t\"'") for name, value in found if len(value) < MAX_VALUE}
    lines = text.splitlines()
    places = [number for number, line in enumerate(lines) if ARCHIVER in line]
    for number in places[:MAX_COMMANDS]:
        line = lines[number]
        rest = line.partition(ARCHIVER)[2]
        following = number + 1
        while (
            rest.rstrip().endswith(("\\", "^"))
            and len(rest) < MAX_LENGTH
            and following < len(lines)
        ):
            rest = rest.rstrip()[:-1] + " " + lines[following].strip()
            following += 1
        if LISTED.match(rest):
            text = " ".join(lines[number : number + MAX_WORDS]).partition(ARCHIVER)[2]
            rest = listed(text[1:MAX_LENGTH].partition("]")[0])
        if "--model-name" in rest:
            yield parse(rest, variables, f"{relative(path, root)}:{number + 1}", path.parent)


def listed(text: str) -> str:
    """Return a command from within a list: "--model-name", NAME becomes --model-name $NAME."""
    words = (double or single or f"${name}" for double, single, name in WORD.findall(text))
    return " ".join(map(shlex.quote, words))


def parse(text: str, variables: dict[str, str], where: str, folder: Path) -> Command:
    """Return what the options of one command tell."""

    def known(match: re.Match[str]) -> str:
        name = match[1] or match[2] or match[3]
        return variables.get(name, match[0])

    for _ in range(3):  # a variable may hold another
        text = VARIABLE.sub(known, text[:MAX_LENGTH])
    text = "".join(char for char in text[:MAX_LENGTH] if char.isprintable() or char == "\t")
    try:
        words = shlex.split(text.replace("`", " "), comments=True)
    except ValueError:
        words = text.split()
    end = next((i for i, word in enumerate(words) if END.match(word)), len(words))
    words = [word.rstrip(";") for word in words[: min(end, MAX_WORDS)]]
    while words:
        try:
            options, _ = parser().parse_known_args(words)
            break
        except ValueError:  # such as for prose after the command
            words.pop()
    else:
        return Command(where, folder)
    said = {name: "" if "$" in str(x) or "<" in str(x) else x for name, x in vars(options).items()}
    return Command(
        where=where,
        folder=folder,
        model_name=said["model_name"],
        version=said["version"],
        handler=said["handler"].partition(":")[0],
        model_file=said["model_file"],
        serialized_file=said["serialized_file"],
        extra_files=tuple(x.strip() for x in said["extra_files"].split(",") if x.strip()),
        requirements_file=said["requirements_file"],
        config_file=said["config_file"],
    )
