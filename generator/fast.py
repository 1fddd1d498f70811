"""Renders thousands of projects quickly, through Copier's own engine.

Copier compiles every Jinja string anew for each project, reads copier.yml again, and asks git about
each file. Here one template and one Jinja environment serve all projects, and what was compiled
once is kept. What comes out is the same to the byte, which a test compares with
`copier.run_copy`. `Worker` is internal to Copier: nothing but the matrix depends on this module.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from unittest import mock

from copier._jinja_ext import SandboxedEnvironment
from copier._main import Worker
from copier._settings import SettingsModel
from copier._template import Template
from copier._types import Phase
from copier._user_data import parse_yaml_string


class FastRenderer:
    """Renders projects from a template in a plain folder.

    Args:
        template: The folder that holds copier.yml; without a .git, which Copier would ask.
    """

    def __init__(self, template: Path) -> None:
        first = Worker(src_path=str(template), settings=SettingsModel())
        shared_template, shared_environment = first.template, keep_compiled(first.jinja_env)

        class FastWorker(Worker):
            """A Worker that shares what does not depend on the answers."""

            @cached_property
            def template(self) -> Template:
                return shared_template

            @cached_property
            def jinja_env(self) -> SandboxedEnvironment:
                return shared_environment

            @cached_property
            def answers_relpath(self) -> Path:
                # Copier renders the name, which here holds nothing to render.
                return Path(self.answers_file or self.template.answers_relpath)

            @cached_property
            def _final_context(self) -> dict[str, Any]:
                return dict(super()._render_context())

            def _render_context(self) -> dict[str, Any]:
                # Once the questions are answered, every file and every path gets the same.
                asked = Phase.current() is Phase.RENDER
                return dict(self._final_context if asked else super()._render_context())

        self._source = str(template)
        self._worker = FastWorker

    def render(self, destination: Path, answers: Mapping[str, Any]) -> None:
        """Render one project.

        Raises:
            ValueError: An answer, or the combination, is not valid.
        """
        with shortcuts():
            self._worker(
                src_path=self._source,
                dst_path=destination,
                data=dict(answers),
                defaults=True,
                quiet=True,
                settings=SettingsModel(),
            ).run_copy()


class Constant:
    """Stands for the template of a text without Jinja: most help texts and names of values."""

    def __init__(self, text: str) -> None:
        self.text = text

    def render(self, *_: Any, **__: Any) -> str:
        """Return the text."""
        return self.text


def keep_compiled(environment: SandboxedEnvironment) -> SandboxedEnvironment:
    """Make an environment remember the templates that it made of strings."""

    @cache
    def from_string(source: str) -> Any:
        return original(source) if "{" in source or "\r" in source else Constant(source)

    original = environment.from_string

    def cached(source: Any, *args: Any, **kwargs: Any) -> Any:
        # Copier passes what is no text, too, to see it refused.
        plain = isinstance(source, str) and not args and not kwargs
        return from_string(source) if plain else original(source, *args, **kwargs)

    environment.from_string = cached  # type: ignore[method-assign]
    environment.auto_reload = False
    return environment


remember_yaml = cache(parse_yaml_string)
remember_json = cache(json.loads)


@contextlib.contextmanager
def shortcuts() -> Iterator[None]:
    """Keep Copier from starting git for each file, and from parsing the same texts again.

    The destination is no repository, so git would have nothing to say.
    """
    with (
        mock.patch("copier._main.is_git_available", lambda: False),
        mock.patch("copier._user_data.parse_yaml_string", remember_yaml),
        mock.patch.dict("copier._user_data.CAST_STR_TO_NATIVE", json=remember_json),
    ):
        yield
