"""A study's own folder: configuration, sheets, and what makes `snakemake` work in it as it does in the clone."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path
from neurostrata.core.locations import REPOSITORY

#: Link in the study's folder to the clone; the other links go through it, so that a moved clone is one link to set.
CLONE = "clone"
#: Link -> its target. Snakemake looks for profiles in the folder in which it is called.
LINKS = {"profiles": f"{CLONE}/profiles", "slurm": f"{CLONE}/slurm"}
CONFIG = "config/config.yaml"
QUALITY = "config/qc.tsv"

_SNAKEFILE = """# `snakemake -n`, `snakemake --cores 8` and `snakemake --profile slurm` work in this folder: the workflow is in `{clone}`, a link
# to the clone of neurostrata; `profiles` and `slurm` are links into it.
# Your cluster's partition and account: ~/.config/snakemake/mysite/config.yaml, and `--profile slurm --profile mysite` (docs/cluster.md).
# When the clone has moved, in this folder: ln -sfn NEW_PLACE_OF_THE_CLONE {clone}

import sys
from pathlib import Path

if not Path(str(workflow.basedir), "{clone}", "Snakefile").exists():
    print(
        "neurostrata: the clone is no longer where the link `{clone}` of this study points to; in the study's folder: "
        "ln -sfn NEW_PLACE_OF_THE_CLONE {clone}",
        file=sys.stderr,
    )
    sys.exit(2)


include: "{clone}/Snakefile"


# what `snakemake` makes when no target is named
workflow.default_target = "all"
"""


def snakefile() -> str:
    """Return the text of a study's Snakefile."""
    return _SNAKEFILE.format(clone=CLONE)


def refuse_folder(study: Path, folder: Path, force: bool) -> None:
    """Raise a :class:`UserError` when a study cannot be begun in a folder."""
    if study.resolve() == REPOSITORY.resolve():
        raise UserError(f"{study}: is the clone of neurostrata itself; name another folder for the study")
    if study.resolve() == folder.resolve():
        raise UserError(
            f"{study}: is the folder with the images; name another one for the study, such as {folder / 'study'}"
        )
    if study.exists() and not study.is_dir():
        raise UserError(f"{study}: is a file; name a folder for the study")
    odd = [character for character in "{}<>\n\t" if character in str(study.resolve())]
    if odd:
        raise UserError(
            f"{study}: a path with {odd[0]!r}, which has a special meaning in a workflow; choose another name"
        )
    if (study / CONFIG).exists() and not force:
        raise UserError(
            f"{study / CONFIG}: is there already, and nothing was changed. Edit it, or begin in another folder, or --force (what is there "
            "is then kept in a folder before-init-...)"
        )


def make_study_folder(study: Path, files: Mapping[str, str], force: bool) -> list[str]:
    """Write a study's files and links; return where files that were there were moved to.

    A new folder appears in one step. In a folder that exists each file does, the configuration last: without it, `init` can be
    called again.

    Parameters
    ----------
    study
        The folder.
    files
        Path in it -> text.
    force
        Replace what is there, after a copy of it.

    Raises
    ------
    UserError
        When something else is there under one of the names, and `force` is not set.
    """
    links = {CLONE: str(REPOSITORY), **LINKS}
    try:
        if not study.exists():
            study.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{study.name}-", dir=study.parent))
            try:
                _write(temporary, files, links)
                temporary.chmod(0o777 & ~_umask())
                temporary.rename(study)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            return []
        others = [name for name, text in files.items() if name != QUALITY and _differs(study / name, text)]
        others += [name for name, target in links.items() if _differs_link(study / name, target)]
        if others and not force:
            raise UserError(
                f"{study}: has {', '.join(others)} already, and nothing was changed; begin in another folder, or --force (what is there is "
                "then kept in a folder before-init-...)"
            )
        if others:
            kept = study / f"before-init-{time.strftime('%Y%m%d-%H%M%S')}"
            for name in others:
                _keep(study / name, kept / name)
        _write(study, files, links)
    except OSError as error:
        raise UserError(f"{error.filename or study}: cannot be written ({error.strerror})") from error
    return [str(kept / name) for name in others] if others else []


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _differs(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") != text
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError):
        return True


def _differs_link(path: Path, target: str) -> bool:
    return os.path.lexists(path) and not (path.is_symlink() and str(path.readlink()) == target)


def _keep(path: Path, copy: Path) -> None:
    """Copy a file; move a folder or link, which cannot be replaced in one step."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and not path.is_symlink():
        shutil.copy2(path, copy)
    else:
        path.rename(copy)


def _write(folder: Path, files: Mapping[str, str], links: Mapping[str, str]) -> None:
    for name, target in links.items():
        if not os.path.lexists(folder / name):
            (folder / name).symlink_to(target)
    for name in sorted(files, key=lambda name: name == CONFIG):
        if name == QUALITY and (folder / name).exists():
            continue  # decisions about people, whatever the configuration
        with atomic_path(folder / name, record=False) as temporary:
            temporary.write_text(files[name], encoding="utf-8")
