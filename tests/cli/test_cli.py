"""The command line: mistakes are one line and exit code 2, nothing is done twice, nothing is half-written."""

import gzip
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ganbench import __version__
from ganbench.datasets import Dataset
from ganbench.errors import UserError
from ganbench.execution import jobs
from ganbench.reporting import leaderboard
from ganbench.runs.scores import read_rows
from ganbench.training import checkpoints, loop

Cli = Callable[..., Any]
SECONDS = 200  # limit of a subprocess


def files(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def mistake(answer: Any) -> str:
    """Return the one line of an error, having checked that it is one."""
    assert answer.code == 2 and answer.err.count("\n") == 1 and answer.err.endswith("\n"), answer
    assert answer.err.startswith("ganbench: error: ") and "Traceback" not in answer.err
    return answer.err.removeprefix("ganbench: error: ").strip()


def words(value: object) -> str:
    """Return the name of a case: its arguments, not the message."""
    return " ".join(value) if isinstance(value, list) else ""


RUN_MISTAKES = [
    (["--suite", "digit"], "unknown suite 'digit'; did you mean digits or video-digits?"),
    (["--suite", "nope.toml"], "suite file 'nope.toml' does not exist; give a path or one of "),
    (["--models", "wgangp"], "unknown model 'wgangp'; did you mean wgan-gp"),
    (["--models", "gan,"], None),
    (["--set", "gan.latnt=3"], "unknown setting of gan 'latnt'; did you mean latent?"),
    (["--set", "gan.latent=many"], "setting of gan: latent: Input should be a valid integer, got 'many'"),
    (["--set", "gan.latent=2020-01-01"], "setting of gan: latent: Input should be a valid integer"),
    (["--set", "gan.latent"], "--set expects model.key=value, got 'gan.latent'; for example wgan-gp.penalty=5"),
    (["--set", "gann.latent=3"], "unknown model 'gann'; did you mean gan"),
    (["--set", "wgan.latent=3"], "--set wgan.latent: wgan is not among the models of this run"),
    (["--seeds", "0"], "--seeds must be at least 1, got 0"),
    (["--seeds", "two"], "Invalid value for '--seeds': "),
    (["--workers", "0"], "--workers must be at least 1, got 0"),
    (["--device", "gpu"], "unknown device 'gpu'; give auto, cpu, cuda or mps"),
    (["--engine", "graph"], "--engine graph captures CUDA graphs, but the device is cpu; try --engine compiled"),
    (["--engine", "fast"], "unknown engine 'fast'"),
    (["--precision", "fp16"], "unknown precision 'fp16'; did you mean bf16?"),
    (["--budget", "quik"], "unknown budget 'quik'; did you mean quick?"),
    (["--dataset", "minst"], "unknown dataset 'minst'; did you mean mnist or moving-mnist or moving-mnist-4?"),
    (["--dataset", "npz:no.npz"], "no.npz does not exist; expected an .npz file"),
    (["--seds", "3"], "No such option: --seds"),
    (["--plugin", "no.py"], "plug-in file 'no.py' does not exist; give the path of a .py file"),
]


@pytest.mark.parametrize(("arguments", "message"), RUN_MISTAKES, ids=words)
def test_mistake_in_run(
    ganbench: Cli, suite: Path, tmp_path: Path, arguments: list[str], message: str | None
) -> None:
    out = tmp_path / "runs"
    answer = ganbench("run", "--suite", suite, "--out", out, "--models", "gan", "--device", "cpu", *arguments)
    if message is None:
        assert answer.code == 0
        return
    assert mistake(answer).startswith(message), answer.err
    assert not out.exists() or not any(out.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "Missing option '--suite'"),
        (["lst"], "No such command 'lst'. Did you mean 'list'"),
        (["list", "modls"], "unknown thing to list 'modls'; did you mean models?"),
        (["list", "models", "more"], "Got unexpected extra argument"),
        (["leaderboard", "--suite", "digits", "--format", "mdd"], "unknown format 'mdd'; did you mean md?"),
        (
            ["leaderboard", "--suite", "digits", "--out", "none"],
            "no score rows of suite digits in none/digits; make some",
        ),
        (["measure", "none"], "no finished run in none; train some with ganbench run"),
        (["measure"], "Missing argument"),
        (["publish", "--suite", "digits"], "--suite and --budget go together"),
        (
            ["publish", "--suite", "digits", "--budget", "quick", "--out", "none"],
            "no score rows of suite digits in none",
        ),
    ],
    ids=words,
)
def test_mistake_in_other_commands(
    ganbench: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert mistake(ganbench(*arguments)).startswith(message)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "paper"], "unknown budget among the score rows 'paper'; known: quick"),
        (["--metric", "fjd"], "unknown metric among the score rows 'fjd'; "),
    ],
)
def test_leaderboard_of_what_was_not_measured(
    ganbench: Cli, suite: Path, finished: Path, arguments: list[str], message: str
) -> None:
    assert mistake(ganbench("leaderboard", "--suite", suite, "--out", finished, *arguments)).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "fdi"], "unknown metric 'fdi'; did you mean fid?"),
        (["--metric", "fid"], "metric fid needs an extractor, for example fid@"),
        ([], "suite tiny is a file of yours; give its path by --suite, or name a --metric"),
    ],
)
def test_mistake_in_measure(ganbench: Cli, finished: Path, arguments: list[str], message: str) -> None:
    before = files(finished)
    assert mistake(ganbench("measure", finished, *arguments)).startswith(message)
    assert files(finished) == before


@pytest.mark.parametrize("metric", ["fdi@mlp-digits-v1", "fid@mlp-digit-v1", "fid", "authenticity@pixels"])
def test_unknown_metric_in_a_suite(ganbench: Cli, suite: Path, tmp_path: Path, metric: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(suite.read_text(encoding="utf-8").replace("fid@mlp-digits-v1", metric), encoding="utf-8")
    line = mistake(ganbench("run", "--suite", path, "--out", tmp_path / "runs"))
    assert metric.partition("@")[0] in line or "mlp-digits-v1" in line
    assert not list((tmp_path / "runs").glob("*"))


def test_absent_data_name_the_files_and_a_way_out(ganbench: Cli, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    place = ("--data-root", root, "--out", tmp_path / "runs", "--device", "cpu")
    line = mistake(ganbench("run", "--suite", "mnist", "--no-download", *place))
    assert "train-images-idx3-ubyte" in line and str(root) in line and "--suite digits" in line
    assert files(tmp_path) == {}


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("GANBENCH_DATA"), reason="GANBENCH_DATA names no folder of real files")
def test_truncated_data_are_named(ganbench: Cli, tmp_path: Path) -> None:
    source = next(Path(os.environ["GANBENCH_DATA"]).rglob("train-images-idx3-ubyte.gz"))
    raw = tmp_path / "data" / "MNIST" / "raw"
    shutil.copytree(source.parent, raw, ignore=lambda _, names: [n for n in names if not n.endswith(".gz")])
    name = "train-images-idx3-ubyte.gz"
    (raw / name).write_bytes(source.read_bytes()[:100_000])
    place = ("--data-root", tmp_path / "data", "--out", tmp_path / "runs", "--device", "cpu")
    line = mistake(ganbench("run", "--suite", "mnist", "--no-download", *place))
    assert name in line and not list((tmp_path / "runs").glob("*"))


def test_truncated_made_up_data_are_named(ganbench: Cli, tmp_path: Path) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{part}-ubyte.gz").write_bytes(gzip.compress(os.urandom(1000))[:500])
    place = ("--data-root", tmp_path / "data", "--out", tmp_path / "runs", "--device", "cpu")
    line = mistake(ganbench("run", "--suite", "mnist", "--no-download", *place))
    assert "-ubyte.gz" in line and not list((tmp_path / "runs").glob("*"))


@pytest.mark.parametrize("place", ["below a file", "proc"])
def test_folder_that_cannot_be_written(ganbench: Cli, suite: Path, tmp_path: Path, place: str) -> None:
    if place == "proc" and not Path("/proc/self").exists():
        pytest.skip("no /proc")
    (tmp_path / "file").touch()
    out = Path("/proc/none/runs") if place == "proc" else tmp_path / "file" / "runs"
    line = mistake(ganbench("run", "--suite", suite, "--out", out))
    assert line.startswith(f"--out {out} cannot be written (") and line.endswith("; give another folder")


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(ganbench: Cli, suite: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert "cannot be written" in mistake(ganbench("run", "--suite", suite, "--out", tmp_path))
    finally:
        tmp_path.chmod(0o700)


def test_debug_shows_the_traceback() -> None:
    command = [sys.executable, "-m", "ganbench.cli", "run", "--suite", "digit"]
    plain, debug = (
        subprocess.run([*command, *extra], capture_output=True, text=True, timeout=SECONDS)
        for extra in ([], ["--debug"])
    )
    assert (plain.returncode, plain.stderr.count("\n")) == (2, 1) and "Traceback" not in plain.stderr
    assert debug.returncode == 1 and "Traceback" in debug.stderr and "did you mean digits" in debug.stderr


def test_message_of_many_lines_becomes_one(ganbench: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise UserError("one\n  two")

    monkeypatch.setattr("ganbench.execution.suite.read_suite", fail)
    assert mistake(ganbench("run", "--suite", "digits")) == "one two"


def test_nothing_is_trained_or_written_twice(ganbench: Cli, suite: Path, runs: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    answer = ganbench("run", "--suite", suite, "--out", runs, "--device", "cpu")
    assert answer.code == 0 and answer.err == ""
    assert answer.out.startswith(f"nothing to train or measure: all 6 runs are finished in {runs}\n")
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


def test_what_was_measured_already_is_not_trained(ganbench: Cli, suite: Path, runs: Path, scores: Any) -> None:
    before = scores(runs)
    for path in runs.glob("tiny/gan/*/scores.csv"):
        path.unlink()
    answer = ganbench("run", "--suite", suite, "--out", runs, "--device", "cpu")
    assert f"nothing to train: all 6 runs are trained in {runs}\ntrained 0 of 6 runs, measured 2\n" in answer.out
    assert scores(runs) == before


def test_engine_and_precision_are_declared(ganbench: Cli, suite: Path, runs: Path, traced: None) -> None:
    base = ("run", "--suite", suite, "--out", runs, "--device", "cpu", "--models", "vae")
    answer = ganbench(*base, "--engine", "compiled")
    assert answer.code == 0 and answer.out.startswith("nothing to train")  # another engine, the same run
    answer = ganbench(*base, "--engine", "compiled", "--precision", "bf16", "--seeds", "1")
    assert answer.code == 0 and "trained 1 of 1 runs" in answer.out  # another precision, another run
    rows = leaderboard.load_rows(runs.glob("tiny/vae/*/scores.csv"))
    half = rows[rows["protocol"].str.contains("weights of the last round, trained in bf16; ")]
    assert set(half["metric"]) == set(rows["metric"]) and len(rows) == 3 * len(half)
    assert half["provenance"].str.contains("trained on cpu compiled with torch").all()


def test_one_more_seed_trains_only_that_one(ganbench: Cli, suite: Path, runs: Path, scores: Any) -> None:
    before = scores(runs)
    answer = ganbench("run", "--suite", suite, "--out", runs, "--device", "cpu", "--seeds", 3, "--models", "gan")
    assert "trained 1 of 3 runs, measured 1" in answer.out
    assert {name: text for name, text in scores(runs).items() if name in before} == before


INTERRUPTIBLE = """
import functools
from ganbench import cli
from ganbench.execution import jobs
from ganbench.training import loop
jobs.train = functools.partial(loop.train, checkpoint_seconds=0.1)
cli.main()
"""


def test_killed_run_goes_on_to_the_same_rows(
    ganbench: Cli, suite: Path, tmp_path: Path, scores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.toml"
    path.write_text(suite.read_text(encoding="utf-8").replace("rounds = 20", "rounds = 600"), encoding="utf-8")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    arguments = ["run", "--suite", str(path), "--models", "gan", "--device", "cpu"]
    assert ganbench(*arguments, "--out", whole).code == 0

    command = [sys.executable, "-c", INTERRUPTIBLE, *arguments, "--out", str(cut)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + SECONDS
    while not list(cut.glob("tiny/gan/checkpoint-*.pt")) and time.monotonic() < limit and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == -signal.SIGKILL, f"the run was over before it could be killed: {err}"
    assert not list(cut.glob("tiny/gan/*/status.json"))

    resume, rounds = checkpoints.resume, []

    def spy(stack: Any, checkpoint: Path) -> Any:
        log = resume(stack, checkpoint)
        rounds.append(stack.round)
        return log

    monkeypatch.setattr(checkpoints, "resume", spy)
    answer = ganbench(*arguments, "--out", cut)
    assert answer.code == 0 and "trained 2 of 2 runs" in answer.out
    assert len(rounds) == 1 and 0 < rounds[0] < 600, "it must go on, not begin anew"
    assert scores(cut) == scores(whole)
    mine, other = files(cut), files(whole)
    assert set(mine) == set(other), "nothing may be left over"
    for name in mine:
        if not name.endswith(("scores.csv", "status.json")):
            assert mine[name] == other[name], name


def interrupt(ganbench: Cli, suite: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Leave a training of the GAN in the middle; return its checkpoint."""

    class Stopped(Exception):
        pass

    def stop(specs: Any, data: Dataset, out: Path, progress: Any, engine: str) -> None:
        loop.train(specs, data, out, progress, stop_after=5, engine=engine)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "train", stop)
        answer = ganbench("run", "--suite", suite, "--out", out, "--device", "cpu", "--models", "gan")
    assert answer.code == 130 and answer.err == "ganbench: stopped; run the same command again to go on\n"
    (path,) = out.glob("tiny/gan/checkpoint-*.pt")
    return path


def test_stopped_run_goes_on_to_the_same_rows(
    ganbench: Cli, suite: Path, finished: Path, tmp_path: Path, scores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(ganbench, suite, tmp_path, monkeypatch)
    assert ganbench("run", "--suite", suite, "--out", tmp_path, "--device", "cpu").code == 0
    assert scores(tmp_path) == scores(finished)


@pytest.mark.parametrize("damage", ["short", "zeros", "empty"])
def test_damaged_checkpoint_is_named(
    ganbench: Cli, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    path = interrupt(ganbench, suite, tmp_path, monkeypatch)
    size = path.stat().st_size
    path.write_bytes({"short": path.read_bytes()[: size // 2], "zeros": bytes(size), "empty": b""}[damage])
    line = mistake(ganbench("run", "--suite", suite, "--out", tmp_path, "--device", "cpu", "--models", "gan"))
    assert f"checkpoint '{path}' is damaged" in line and "delete it to train" in line


def test_damaged_list_of_a_checkpoint_costs_nothing(
    ganbench: Cli, suite: Path, finished: Path, tmp_path: Path, scores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(ganbench, suite, tmp_path, monkeypatch).with_suffix(".json").write_text('["', encoding="utf-8")
    assert ganbench("run", "--suite", suite, "--out", tmp_path, "--device", "cpu").code == 0
    assert scores(tmp_path) == scores(finished)
    assert not list(tmp_path.glob("tiny/gan/checkpoint-*"))


def test_damaged_scores_are_named(ganbench: Cli, suite: Path, runs: Path) -> None:
    path = next(runs.glob("tiny/vae/*/scores.csv"))
    path.write_bytes(path.read_bytes()[:-300])
    for command in (["leaderboard", "--suite", suite], ["run", "--suite", suite, "--device", "cpu"]):
        line = mistake(ganbench(*command, "--out", runs))
        assert f"'{path}' is not a score file: " in line and "delete it" in line
    path.unlink()
    assert ganbench("run", "--suite", suite, "--device", "cpu", "--out", runs).code == 0


def test_damaged_weights_are_named(ganbench: Cli, suite: Path, runs: Path) -> None:
    path = next(runs.glob("tiny/gan/*/weights.safetensors"))
    path.write_bytes(path.read_bytes()[:-50])
    line = mistake(ganbench("measure", runs, "--suite", suite, "--device", "cpu"))
    assert line.startswith(f"gan: weights in '{path.parent}' are damaged") and "delete the folder" in line


def test_moved_run_is_refused(ganbench: Cli, suite: Path, runs: Path) -> None:
    folder = next(runs.glob("tiny/gan/*"))
    folder.rename(folder.with_name("renamed"))
    assert "does not have the name of its specification" in mistake(ganbench("measure", runs, "--suite", suite))


def test_measure_adds_metrics_without_training(ganbench: Cli, suite: Path, runs: Path) -> None:
    weights = {path: path.stat().st_mtime_ns for path in runs.glob("*/*/*/weights.safetensors")}
    answer = ganbench("measure", runs / "tiny" / "vae", "--metric", "recall@mlp-digits-v1", "--device", "cpu")
    assert answer.code == 0 and "measured 2 runs" in answer.out
    names = [row.metric for row in read_rows(next(runs.glob("tiny/vae/*/scores.csv")))]
    assert names == ["fid@mlp-digits-v1", "reconstruction-mse", "authenticity", "recall@mlp-digits-v1"]
    assert {path: path.stat().st_mtime_ns for path in weights} == weights


def test_measure_from_inside_a_run_folder(ganbench: Cli, suite: Path, runs: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(next(runs.glob("tiny/gan/*")))
    answer = ganbench("measure", ".", "--suite", suite, "--device", "cpu")
    assert answer.code == 0 and "measured 1 runs" in answer.out


def test_diverging_model_is_shown_and_harms_no_other(
    ganbench: Cli, suite: Path, finished: Path, tmp_path: Path, scores: Any
) -> None:
    rates = [("--set", f"gan.{player}.optimiser.lr=1e30") for player in ("generator", "discriminator")]
    answer = ganbench("run", "--suite", suite, "--out", tmp_path, "--device", "cpu", *rates[0], *rates[1])
    assert answer.code == 0, answer.err
    told = re.findall(r"^gan: seed (\d) diverged at round (\d+)", answer.out, re.MULTILINE)
    assert [seed for seed, _ in told] == ["0", "1"] and all(1 <= int(round_) <= 20 for _, round_ in told)
    text = ganbench("leaderboard", "--suite", suite, "--out", tmp_path, "--format", "md").out
    line = next(line for line in text.splitlines() if "| gan " in line)
    assert line.count("diverged") == 3 and "0/2" in line and "| –" in line
    assert re.search(rf"gan: 2 of 2 seeds diverged, first: .*round {told[0][1]}", text)
    mine, plain = scores(tmp_path), scores(finished)
    for model in ("vae", "real-train"):
        assert {k: v for k, v in mine.items() if model in k} == {k: v for k, v in plain.items() if model in k}


@pytest.mark.parametrize("form", ["rich", "md", "csv", "html", "latex"])
def test_leaderboard_formats(ganbench: Cli, suite: Path, finished: Path, form: str) -> None:
    answer = ganbench("leaderboard", "--suite", suite, "--out", finished, "--format", form)
    assert answer.code == 0 and answer.err == ""
    for name in ("gan", "vae", "real-train", "authenticity", "reconstruction-mse"):
        assert name in answer.out
    if form == "rich":
        assert answer.out in ganbench("run", "--suite", suite, "--out", finished, "--device", "cpu").out


def test_published_rows_give_the_same_leaderboard(
    ganbench: Cli, suite: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    answer = ganbench("publish", "--suite", suite, "--budget", "quick", "--out", finished, "--results", results)
    assert answer.code == 0, answer.err
    written = [
        "reported.csv",
        "scores/tiny-v1-quick.csv",
        "leaderboards/tiny-v1-quick.md",
        "leaderboards/tiny-v1-quick.csv",
        "published.md",
    ]
    settings = sorted((results / "settings" / "tiny-v1-quick").glob("*.json"))
    assert len(settings) == 3 and set(answer.out.split()) == {str(p) for p in settings} | {
        str(results / name) for name in written
    }
    rows = leaderboard.load_rows([results / "scores" / "tiny-v1-quick.csv"])
    raw = leaderboard.load_rows(finished.glob("tiny/*/*/scores.csv"))
    by = ["model", "seed", "metric"]
    pd.testing.assert_frame_equal(
        rows.sort_values(by, ignore_index=True), raw.sort_values(by, ignore_index=True), check_exact=True
    )
    monkeypatch.setattr(leaderboard, "results_folder", lambda: results)
    mine, committed = (
        ganbench("leaderboard", "--suite", suite, "--format", "csv", *place).out
        for place in (["--out", finished], ["--committed"])
    )
    assert sorted(mine.splitlines()) == sorted(committed.splitlines()) and len(mine.splitlines()) == 10
    before = files(results)
    ganbench("publish", "--suite", suite, "--budget", "quick", "--out", finished, "--results", results)
    assert files(results) == before


def test_changed_suite_without_a_new_version_is_another_line(
    ganbench: Cli, suite: Path, runs: Path, tmp_path: Path
) -> None:
    path = tmp_path / "changed.toml"
    path.write_text(suite.read_text(encoding="utf-8").replace("rounds = 20", "rounds = 10"), encoding="utf-8")
    assert ganbench("run", "--suite", path, "--out", runs, "--device", "cpu", "--models", "vae").code == 0
    table = pd.read_csv(
        io.StringIO(ganbench("leaderboard", "--suite", path, "--out", runs, "--format", "csv").out)
    )
    assert table[table["model"] == "vae"]["config_hash"].nunique() == 2 and (table["seeds"] == 2).all()


def test_rows_of_two_codes_share_no_line(ganbench: Cli, suite: Path, runs: Path, tmp_path: Path) -> None:
    [one, *_] = runs.glob("tiny/vae/*/scores.csv")
    other = tmp_path / "other" / "tiny" / "vae" / "elsewhere" / "scores.csv"
    other.parent.mkdir(parents=True)
    code = read_rows(one)[0].code_hash
    other.write_text(one.read_text(encoding="utf-8").replace(code, "another"), encoding="utf-8")
    shutil.copytree(other.parent, runs / "tiny" / "vae" / "elsewhere")
    line = mistake(ganbench("leaderboard", "--suite", suite, "--out", runs))
    assert line.startswith("vae has two rows of fid@mlp-digits-v1 for seed ")


@pytest.mark.parametrize("what", ["models", "datasets", "metrics", "extractors", "suites"])
def test_list(ganbench: Cli, what: str) -> None:
    known = {
        "models": "wgan-gp ",
        "datasets": "fashion-mnist ",
        "metrics": "reconstruction-mse ",
        "extractors": "mlp-digits-v1 ",
        "suites": "mnist ",
    }
    answer = ganbench("list", what)
    lines = answer.out.splitlines()
    assert answer.code == 0 and any(line.startswith(known[what]) for line in lines)
    assert all(re.match(r"\S+ +\S", line) for line in lines)
    assert f"{what}:\n  {lines[0]}\n" in ganbench("list").out


def test_list_tells_abilities_and_variants(ganbench: Cli) -> None:
    lines = {line.split()[0]: line for line in ganbench("list", "models").out.splitlines()}
    assert "[sample, encode, decode, reconstruct]" in lines["vae"] and "[sample]" in lines["wgan-gp"]
    assert len({line.partition("[")[2] for line in lines.values() if line.startswith("fgan-")}) > 5


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_for_a_newcomer(ganbench: Cli, arguments: list[str]) -> None:
    answer = ganbench(*arguments)
    assert answer.code == 0 and answer.err == ""
    for word in ("ganbench run --suite digits", "list", "run", "measure", "leaderboard", "publish", "--debug"):
        assert word in " ".join(answer.out.split())


def test_version(ganbench: Cli) -> None:
    assert ganbench("version").out == f"ganbench {__version__}\n"
    assert ganbench("--version").out == f"ganbench {__version__}\n"


def test_ctrl_c_stops_with_one_line(suite: Path, tmp_path: Path) -> None:
    """Ctrl-C reaches the whole process group: a worker that trains, and one that waits for work."""
    path = tmp_path / "long.toml"
    path.write_text(suite.read_text(encoding="utf-8").replace("rounds = 20", "rounds = 1000000"), encoding="utf-8")
    arguments = ["run", "--suite", path, "--models", "gan,real-train", "--device", "cpu", "--workers", "2"]
    command = [sys.executable, "-m", "ganbench.cli", *map(str, arguments), "--out", str(tmp_path / "runs")]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A test run in the background inherits a shell's "ignore Ctrl-C".
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    limit = time.monotonic() + SECONDS
    out = tmp_path / "runs" / "tiny"
    begun = ("gan/checkpoint-*.json", "real-train/*/samples.png")
    while not all(list(out.glob(name)) for name in begun) and time.monotonic() < limit and process.poll() is None:
        time.sleep(0.05)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, err
    assert err == "ganbench: stopped; run the same command again to go on\n"


def test_a_suite_of_several_datasets_runs_them_all_or_those_asked_for(tmp_path, ganbench):
    text = """
name = "several"
version = 1
summary = "two laws"
datasets = ["ring", "implicit-exp"]
metrics = ["w1"]
models = ["gan", "real-train"]

[backbone]
kind = "mlp"
generator = [8]
critic = [8]

[budgets.quick]
rounds = 3
seeds = 1
batch = 16
samples = 300
"""
    (tmp_path / "several.toml").write_text(text, encoding="utf-8")
    arguments = ("run", "--suite", tmp_path / "several.toml", "--out", tmp_path / "runs", "--device", "cpu")
    one = ganbench(*arguments, "--dataset", "ring")
    assert one.code == 0 and "trained 2 of 2 runs" in one.out and "gan: trained 1 runs" in one.out
    both = ganbench(*arguments)
    assert both.code == 0, both.err
    assert "pictures: ganbench plot" in both.out  # vectors make no grid of images
    assert "trained 2 of 4 runs" in both.out and "gan on implicit-exp: trained 1 runs" in both.out
    for name in ("ring", "implicit-exp"):
        assert f"several v1, budget quick, {name}" in " ".join(both.out.split())
    assert "nothing to train" in ganbench(*arguments, "--workers", "2").out
    assert "unknown dataset 'rin'; did you mean ring" in ganbench(*arguments, "--dataset", "rin").err
