"""Run folders of several machines in one: the same is left out, what differs is an error, nothing is lost."""

import re
import shutil
from pathlib import Path

import pytest

from ganbench.errors import UserError
from ganbench.runs import merge as module
from ganbench.runs.merge import merge


def content(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder with its content, but locks."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes() for name, path in files.items() if not name.startswith(".") and "/." not in name
    }


def test_identical_runs_are_left_out(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "tiny" / "gan", tmp_path / "other" / "tiny" / "gan")
    assert merge([runs, tmp_path / "other"], tmp_path / "all") == (6, 2)
    assert content(tmp_path / "all") == content(runs)
    assert merge([runs], tmp_path / "all") == (0, 6)


@pytest.mark.parametrize("already", [False, True], ids=["two sources", "source and target"])
@pytest.mark.parametrize("change", ["edited", "missing", "more"])
def test_different_files_of_one_run_are_an_error_before_anything_is_copied(
    runs: Path, tmp_path: Path, already: bool, change: str
) -> None:
    other = Path(shutil.copytree(runs, tmp_path / "other"))
    [run, _] = sorted(other.glob("tiny/vae/*"))
    if change == "edited":
        text = (run / "scores.csv").read_text(encoding="utf-8")
        (run / "scores.csv").write_text(text.replace("measured", "unmeasured", 1), encoding="utf-8")
    elif change == "missing":
        (run / "scores.csv").unlink()
    out = tmp_path / "all"
    if already:
        shutil.copytree(runs / "tiny" / "vae", out / "tiny" / "vae")
    if change == "more":
        ((out if already else runs) / run.relative_to(other) / "scores.csv").unlink()
    before = content(out)
    name = re.escape(str(run.relative_to(other)))
    with pytest.raises(UserError, match=rf"{name}' and '.*{name}' are the same run, but differ in scores.csv"):
        merge([other] if already else [runs, other], out)
    assert content(out) == before


def test_unfinished_runs_stay_where_they_are(runs: Path, tmp_path: Path) -> None:
    for status in runs.glob("tiny/gan/*/status.json"):
        status.unlink()
    (runs / "tiny" / "gan" / "checkpoint-0.pt").touch()
    assert merge([runs], tmp_path / "all") == (4, 0)
    assert not (tmp_path / "all" / "tiny" / "gan").exists()
    with pytest.raises(UserError, match=r"^no finished run in .*nowhere; give folders that ganbench run filled$"):
        merge([tmp_path / "nowhere"], tmp_path / "all")


def test_broken_copy_leaves_nothing_behind(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: str) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(module.os, "rename", full)
    with pytest.raises(OSError, match="no space left"):
        merge([runs], tmp_path / "all")
    assert not content(tmp_path / "all")
