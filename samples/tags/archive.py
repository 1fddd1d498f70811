# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Build the archive that TorchServe runs, and refuse to build one that would not serve.

Examples:
    python archive.py
    python archive.py --weights run7.pth --version 1.1
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools import project  # first: it keeps Ctrl-C quiet while the others import torch

# isort: split

from service import NUM_CLASSES
from tools.checkpoint import (
    SERVED_NAME,
    compare_names,
    compare_preprocessing,
    compare_scoring,
    prepare_weights,
)
from tools.inprocess import is_archive, open_archive
from tools.labels import LABELS, read_labels
from tools.outputs import check_outputs
from tools.project import (
    ARCHIVE,
    MODEL_NAME,
    MODEL_STORE,
    ROOT,
    WEIGHTS_DIR,
    ProjectError,
    change_answer,
    in_project,
    uninterrupted,
)
from tools.samples import NOT_AN_IMAGE, sample_images
from tools.trial import examine

STEPS = ("weights", "labels", "archive", "trial")
WIDTH = max(map(len, STEPS))
MAX_LABEL_LENGTH = 200  # characters
RESERVED = ("handler.py", "model-config.yaml", SERVED_NAME)  # of the archive, at its top
SUFFIXES = {"zip-store": ".mar", "default": ".mar", "tgz": ".tar.gz", "no-archive": ""}


def main() -> int:
    """Build the archive that the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="default: the only file in weights/"
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        default=LABELS,
        help="default: labels.txt",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", default=MODEL_STORE, help="default: model-store"
    )
    parser.add_argument("--version", default="1.0", help="the model's version (default: 1.0)")
    parser.add_argument(
        "--format",
        choices=SUFFIXES,
        default="zip-store",
        help="zip-store is not compressed, thus quick to write and to load (default)",
    )
    parser.add_argument(
        "--trust-outputs",
        action="store_true",
        help="serve a network whose outputs look otherwise than answered, or never change",
    )
    parser.add_argument(
        "--trust-preprocessing",
        action="store_true",
        help="prepare images as answered, whatever the checkpoint tells of it",
    )
    parser.add_argument(
        "--trust-scores",
        action="store_true",
        help="serve scores as answered, whatever the checkpoint tells of them",
    )
    parser.add_argument(
        "--extra-files",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="what your network imports or reads besides; python modules, for instance",
    )
    options = parser.parse_args()
    archive = build(
        options.weights or find_weights(),
        options.labels,
        output=options.output,
        version=options.version,
        archive_format=options.format,
        extra_files=options.extra_files,
        trust_outputs=options.trust_outputs,
        trust_preprocessing=options.trust_preprocessing,
        trust_scores=options.trust_scores,
    )
    if archive == ARCHIVE:
        following = f"{in_project('python predict.py IMAGE')}, or python serve.py"
    else:
        place = shlex.quote(str(archive))
        following = in_project(f"python predict.py --archive {place} IMAGE")
    print(f"\n{archive} is ready. Next: {following}")
    return 0


def find_weights() -> Path:
    """Return the one checkpoint in weights/."""
    files = sorted(path for path in WEIGHTS_DIR.iterdir() if not path.name.startswith("."))
    if len(files) == 1:
        return files[0]
    if not files:
        raise ProjectError(f"put your checkpoint into {WEIGHTS_DIR}, or use --weights FILE")
    names = ", ".join(path.name for path in files)
    raise ProjectError(f"{WEIGHTS_DIR} has several files ({names}); choose with --weights FILE")


def build(
    weights: Path,
    labels: Path = LABELS,
    *,
    output: Path = MODEL_STORE,
    version: str = "1.0",
    archive_format: str = "zip-store",
    extra_files: Sequence[Path] = (),
    trust_outputs: bool = False,
    trust_preprocessing: bool = False,
    trust_scores: bool = False,
) -> Path:
    """Build an archive, try it, and put it in place of the one before.

    Args:
        weights: The checkpoint, as it was saved.
        labels: The label file.
        output: The folder for the archive; made if it does not exist.
        version: The model's version, as in /predictions/<model name>/1.0.
        archive_format: One of SUFFIXES, as torch-model-archiver calls them.
        extra_files: Files that the network imports or reads, to lie beside it.
        trust_outputs: Whether to do without `examine`, for a network that is meant to be so.
        trust_preprocessing: Whether to do without `compare_preprocessing`.
        trust_scores: Whether to do without `compare_scoring`.

    Returns:
        The archive.

    Raises:
        ProjectError: The archive would not serve; the message says what to do. An archive from
            before is left as it was.
    """
    refuse_stray_files()
    output = output.resolve()
    target = output / f"{MODEL_NAME}{SUFFIXES[archive_format]}"
    if target.is_dir() and not is_archive(target):
        raise ProjectError(f"{target} is a folder, but no archive; choose another --output")
    # Beside its place, so that the finished archive can be moved there in one step.
    with working_in(output) as folder:
        stage = Path(folder, "files")
        stage.mkdir()
        step("weights", f"{weights}")
        if not weights.is_file():
            raise ProjectError(f"there is no file {weights}")
        done(prepare_weights(weights, stage / SERVED_NAME))
        if not trust_preprocessing:
            compare_preprocessing(weights)
        if not trust_scores:
            compare_scoring(weights)
        step("labels", f"{labels}")
        names, notes = read_labels(NUM_CLASSES, labels)
        refuse_long_labels(names, labels)
        notes += compare_names(weights, names)
        done(f"{NUM_CLASSES} classes: {', '.join(names[:3])}{', ...' if NUM_CLASSES > 3 else ''}")
        for note in notes:
            done(note)
        step("archive", f"torch-model-archiver --archive-format {archive_format}")
        (stage / "index_to_name.json").write_text(
            json.dumps(dict(enumerate(names)), ensure_ascii=False, indent=0), encoding="utf-8"
        )
        built = pack(stage, version, archive_format, extra_files)
        done(target.name)
        step("trial", "TorchServe's own loader, on images of many kinds")
        done(f"{try_out(built, trust_outputs)} images answered, a broken one refused")
        with uninterrupted():
            if target.is_dir():
                target.rename(Path(folder, "before"))
            os.replace(built, target)
    return target


@contextlib.contextmanager
def working_in(output: Path) -> Iterator[str]:
    """Make a folder in `output` to build in, and remove it in the end.

    Raises:
        ProjectError: The disk is full, or something cannot be read or written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        folder = tempfile.mkdtemp(prefix=".building-", dir=output)
        try:
            yield folder
        finally:
            with uninterrupted():  # people press Ctrl-C twice
                shutil.rmtree(folder, ignore_errors=True)
    except (OSError, RuntimeError) as error:
        # torch.save turns a full disk into a RuntimeError of its inline_container.cc.
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):
            raise
        free = shutil.disk_usage(output if output.is_dir() else ROOT).free
        raise ProjectError(
            f"cannot build in {output}, where {free / 1e6:.1f} MB are free: {error}\n"
            "Another place: --output FOLDER"
        ) from error


def refuse_long_labels(names: list[str], path: Path) -> None:
    """Raise ProjectError for a name that is too long; it is rather text than a name."""
    longest = max(names, key=len)
    if len(longest) > MAX_LABEL_LENGTH:
        raise ProjectError(
            f"{path}: class {names.index(longest)}, {longest[:30]}..., has {len(longest)} "
            f"characters; at most {MAX_LABEL_LENGTH} are allowed. If the name is right, run: "
            f"{change_answer(max_label_length=len(longest))}"
        )


def pack(stage: Path, version: str, archive_format: str, extra_files: Sequence[Path]) -> Path:
    """Run torch-model-archiver on the files in `stage` and return the archive.

    Raises:
        ProjectError: An extra file is missing or has the name of another, or the archiver fails.
    """
    content = stage / "content"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "service", content / "service", ignore=ignored)
    (stage / "index_to_name.json").rename(content / "index_to_name.json")
    for path in extra_files:
        if not path.is_file():
            raise ProjectError(f"there is no file {path}")
        if path.name in RESERVED or (content / path.name).exists():
            raise ProjectError(
                f"the archive has a file {path.name} already; leave {path} out, or give it another "
                "name"
            )
        shutil.copy(path, content)
    scratch, export = stage.with_name("scratch"), stage.with_name("export")
    scratch.mkdir()
    export.mkdir()
    command = [sys.executable, "-m", "model_archiver.model_packaging"]
    command += ["--model-name", MODEL_NAME, "--version", version]
    command += ["--handler", str(ROOT / "service" / "handler.py")]
    command += ["--serialized-file", SERVED_NAME, "--extra-files", "content"]
    command += ["--config-file", str(ROOT / "model-config.yaml")]
    command += ["--archive-format", archive_format, "--export-path", str(export)]
    # The archiver deletes $TMPDIR/<model name>: give it a folder of its own. It splits the names of
    # extra files at commas and expands * and [: it gets the name of their folder.
    result = subprocess.run(
        command,
        cwd=stage,
        env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ProjectError(f"torch-model-archiver failed: {reason}")
    return export / f"{MODEL_NAME}{SUFFIXES[archive_format]}"


def refuse_stray_files() -> None:
    """Raise ProjectError for a module beside this one that the service has in its own folder.

    Before 0.3.0 of the template, all modules lay here; an update leaves those that are yours.
    """
    for path in sorted(ROOT.glob("[!_]*.py")):
        if (ROOT / "service" / path.name).is_file():
            command = in_project(f"mv {path.name} service/{path.name}")
            raise ProjectError(
                f"{path} is not used: the service takes service/{path.name}. If yours is the right "
                f"one, run: {command}\n"
                "In it, modules of the service are imported as in: from service.task import Item"
            )


def try_out(archive: Path, trust_outputs: bool) -> int:
    """Load an archive as TorchServe does and return how many images it answered rightly.

    Raises:
        ProjectError: It does not load, or an image is not answered as it should be.
    """
    images = sample_images()
    try:
        with open_archive(archive) as service:
            outputs = service.outputs(list(images.values()))
            *predictions, refused = service.predict(
                [{"body": data} for data in (*images.values(), NOT_AN_IMAGE)]
            )
            check_outputs(outputs)
            if not trust_outputs:
                examine(service)
    except ProjectError:
        raise
    except Exception as error:
        raise ProjectError(f"the archive does not run: {explain(error)}") from error
    for kind, prediction in zip(images, predictions, strict=True):
        if prediction.status != 200:
            raise ProjectError(f"a {kind} gets status {prediction.status}: {prediction.body}")
    if refused.status != 400:
        raise ProjectError(f"a broken image gets status {refused.status}, not 400")
    return len(predictions)


def explain(error: BaseException) -> str:
    """Return the cause of an error, and for a module that is not in the archive, the fix."""
    while error.__context__ is not None:  # TorchServe meets an ImportError with another
        error = error.__context__
    if isinstance(error, ModuleNotFoundError):
        name = f"{error.name}.py"
        if (ROOT / name).is_file():
            command = in_project(f"python archive.py --extra-files {name}")
            return f"{error}. Put it in with: {command}"
        if (ROOT / "service" / name).is_file():
            return f"{error}. It is imported as: from service.{error.name} import ..."
    return f"{type(error).__name__}: {error}"


def step(title: str, what: str) -> None:
    """Print what begins: one of STEPS."""
    print(f"[{STEPS.index(title) + 1}/{len(STEPS)}] {title:{WIDTH}} {what}", flush=True)


def done(result: str) -> None:
    """Print what came of the step."""
    print(f"      {'':{WIDTH}} {result}", flush=True)


if __name__ == "__main__":
    project.run(main)
