"""Records and their JSON, hashes that never change, seed streams, score files, files that appear whole."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from ganbench.game import SGD, Adam, LinearDecay, Player
from ganbench.layers.networks import MLP, Conv
from ganbench.records import Record, fingerprint, from_json, seed_stream, to_json, write_whole
from ganbench.runs.scores import ScoreRow, read_rows, write_rows


@dataclass(frozen=True)
class Inner(Record):
    sizes: tuple[int, ...] = (1, 2)
    rate: float = 0.5


@dataclass(frozen=True)
class Outer(Record):
    name: str
    inner: Inner = Inner()
    on: bool = False


@pytest.mark.parametrize(
    "record",
    [
        Outer('ü, "x"\n', Inner((), 1e-300), True),
        Player("critic", ("D", "E"), Adam(1e-4, (0.0, 0.9), LinearDecay(0.25)), steps=5, clip=0.01),
        SGD(0.1, 0.5, 0.7, 100),
        MLP(generator=(1200, 1200), keep=(0.8, 0.5)),
        Conv(width=32),
    ],
    ids=lambda record: type(record).__name__,
)
def test_records_survive_json(record):
    plain = to_json(record)
    assert json.loads(json.dumps(plain)) == plain  # plain values only: no tuples, no records
    assert from_json(type(record), plain) == record
    assert fingerprint(to_json(from_json(type(record), plain))) == fingerprint(plain)


def test_floats_and_integers_of_one_value_have_one_hash():
    assert from_json(Outer, {"name": "a", "inner": {"rate": 2}}) == Outer("a", Inner(rate=2.0))
    hashes = {fingerprint(to_json(from_json(Outer, {"name": "a", "inner": {"rate": r}}))) for r in (2, 2.0)}
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "a", "colour": 1}, r"^colour: .*got 1"),
        ({"name": "a", "inner": {"sizes": [1], "extra": 2}}, r"^inner.extra: "),
        ({"name": "a", "inner": {"sizes": [1, 2.5]}}, r"^inner.sizes.1: .*got 2.5"),
        ({"name": "a", "inner": {"rate": "0.5"}}, r"^inner.rate: .*got '0.5'"),
        ({"name": "a", "on": 1}, r"^on: "),
        ({"name": 3}, r"^name: .*got 3"),
        ({}, r"^name: "),
        ([], r"got \[\]"),
    ],
)
def test_unknown_fields_and_wrong_types_are_named(values, message):
    with pytest.raises(ValueError, match=message) as caught:
        from_json(Outer, values)
    assert "\n" not in str(caught.value)


def test_records_are_frozen():
    with pytest.raises(AttributeError):
        Inner().rate = 1.0  # type: ignore[misc]


def test_fingerprints_never_change():
    # Stored: run folders and seed streams of earlier versions depend on them.
    assert fingerprint({"b": [1, 2.5, None, True], "a": "ü"}) == "016a42b8cab9"
    assert fingerprint({"a": "ü", "b": [1, 2.5, None, True]}) == "016a42b8cab9"
    assert fingerprint([], 64) == "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"
    assert fingerprint({"rate": 1e-05}, 8) == "c6eb6aaf"


def test_seed_streams_never_change():
    assert seed_stream("mnist", "gan", 0, "noise") == 8204748397429182849
    assert seed_stream("mnist", "gan", 0, "order", 3) == 966243071399493066


def test_every_axis_makes_its_own_stream():
    axes = [
        (dataset, model, seed, purpose, *epoch)
        for dataset in ("mnist", "digits")
        for model in ("gan", "wgan", "gan-2014")
        for seed in range(12)
        for purpose in ("init", "noise", "order")
        for epoch in ((), (0,), (1,))
    ]
    axes += [("a", "bc"), ("ab", "c"), ("abc",), ("a", "b", "c"), ("1",), (1,)]
    streams = [seed_stream(*axis) for axis in axes]
    assert len(set(streams)) == len(axes)
    assert all(0 <= stream < 2**63 for stream in streams)
    # hashed, not counted: about half of the bits differ between neighbours
    flips = [bin(seed_stream("d", "m", s) ^ seed_stream("d", "m", s + 1)).count("1") for s in range(200)]
    assert sum(flips) / len(flips) == pytest.approx(31.5, abs=1.5)


ROW = ScoreRow(
    suite="digits",
    version=1,
    budget="quick",
    dataset="folder:/photos, mine",
    model="gan",
    role="model",
    supervision="unlabelled",
    config_hash="0123abcd",
    code_hash="0123456789ab",
    seed=0,
    metric="fid@mlp-digits-v1",
    better="lower",
    value=0.1 + 0.2,
    std_error=5e-324,
    n=2000,
    protocol="fid v1; a, b",
    detail='say "no"',
    status="measured",
    reason="",
    seconds=12.25,
    steps=20_000,
    provenance="ganbench 0.1.0; Grüße, 世界",
)


def test_score_rows_survive_a_file(tmp_path):
    rows = [
        ROW,
        replace(ROW, value=math.nan, std_error=math.inf, status="failed", reason="first, second; third"),
        replace(ROW, value=-math.inf, std_error=-0.0, n=0, config_hash="00000012", detail=" 1,5 "),
        replace(ROW, config_hash="12345678", seed=7, value=1e22, detail="'"),
    ]
    path = tmp_path / "deep" / "scores.csv"
    write_rows(path, rows)
    back = read_rows(path)
    assert [repr(asdict(row)) for row in back] == [repr(asdict(row)) for row in rows]  # NaN is not NaN
    assert back[0] == ROW and back[0].value == 0.30000000000000004
    assert type(back[0].seed) is int and type(back[3].config_hash) is str
    write_rows(tmp_path / "again.csv", back)
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def test_an_empty_score_file(tmp_path):
    write_rows(tmp_path / "scores.csv", [])
    assert read_rows(tmp_path / "scores.csv") == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("seed", "sead", 1),
        lambda text: text.replace(",seed", "", 1),
        lambda text: text.replace("provenance", "provenance,colour", 1),
        lambda text: text.replace("0.30000000000000004", "big"),
        lambda text: text.replace("0.30000000000000004", ""),
        lambda text: text[: len(text) // 2],
        lambda text: text.rstrip("\n") + ",more\n",
        lambda text: text.split("\n")[1],
        lambda text: "a,b\n",
        lambda text: "",
        lambda text: "\udc89PNG",
    ],
    ids=[
        "misspelt",
        "column gone",
        "column more",
        "not a number",
        "no number",
        "cut off",
        "cell more",
        "no header",
        "other header",
        "empty",
        "picture",
    ],
)
def test_what_is_no_score_file_is_an_error_that_names_it(tmp_path, damage):
    path = tmp_path / "scores.csv"
    write_rows(path, [ROW])
    good = path.read_text(encoding="utf-8")
    path.write_bytes(damage(good).encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"scores.csv' is not a score file: ") as caught:
        read_rows(path)
    assert "\n" not in str(caught.value)


def test_files_appear_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"
    write_whole(path, "ä")
    assert path.read_bytes() == "ä".encode()
    write_whole(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    path = tmp_path / "file.txt"
    write_whole(path, "old")

    def fail(*args):
        assert path.read_text() == "old"  # not touched yet
        raise OSError("disk full")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, "new and longer")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_are_on_the_disk_before_the_rename(tmp_path, monkeypatch):
    calls, replace_ = [], os.replace

    def note(source, target):
        calls.append(Path(source).read_bytes())
        assert Path(source).parent == Path(target).parent  # a rename within one file system
        replace_(source, target)

    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append("synced"))
    monkeypatch.setattr(os, "replace", note)
    write_whole(tmp_path / "f", b"abc")
    assert calls == ["synced", b"abc"]
