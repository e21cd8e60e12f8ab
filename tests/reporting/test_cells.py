"""Hostile names and reasons through every format: a parser of the format reads the same table back."""

import io
import random
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from ganbench import cells
from ganbench.reporting.leaderboard import aggregate
from ganbench.reporting.render import render, terminal
from ganbench.reporting.tables import tables
from ganbench.runs.scores import ScoreRow, read_rows, write_rows
from tests.reporting.test_leaderboard import lost, published, row, seeds

HOSTILE = (
    "q(k | h)",
    "../../x",
    "x[/nope]",
    "cats[draft](javascript:1)",
    ":bomb: <script>alert('1')</script> \"&lt;\" & &amp;",
    "two\nlines % and\r\n\\end{table}",
    "\x1b[31mred\x07\x00\x9b",
    "right\u202eto\u2066left\u200f\ufeff",
    "=HYPERLINK(1)",
    "@SUM(1)",
    "-cmd|' /C calc'!A0",
    "+1+1",
    "\t=1",
    "-1.5e3",
    "\\",
    "\\|",
    "*a* _b_ __c__ `d` ~~e~~ a_b ***",
    "# no heading",
    "> no quotation",
    "12. no list",
    "[x]: y",
    "$x^2_{3}$ 100 % {a} #1",
    "lone \udcff surrogate",
)
ALPHABET = "ab 01|\\`*_~[]()<>&;#%$^{}\"'=+-@!.:,/\n\x1b\x07\u202e\u2028é"
draw = random.Random(0)
RANDOM = tuple("".join(draw.choices(ALPHABET, k=draw.randint(1, 12))) for _ in range(60))
Table = list[list[str]]


def board() -> pd.DataFrame:
    """Return a leaderboard in which every text is hostile."""
    rows = [
        line
        for place, text in enumerate((*HOSTILE, *RANDOM))
        for line in (
            *seeds(f"{text}{place}", [1.0, 2.0], dataset="folder:cats[draft]\n\x1b|"),
            lost(f"{place}{text}", "failed", text, dataset="folder:cats[draft]\n\x1b|"),
        )
    ]
    for place, text in enumerate(HOSTILE):
        rows.append(row("gan", 1.0, metric=f"{text}{place}", protocol=text, dataset="folder:cats[draft]\n\x1b|"))
    numbers = [
        published(model=f"{text}{place}", dataset="folder:cats[draft]\n\x1b|", source=text, note=text)
        for place, text in enumerate(HOSTILE)
    ]
    return aggregate(pd.DataFrame(rows), pd.concat(numbers))


def shown(frame: pd.DataFrame) -> tuple[list[str], list[Table], list[str]]:
    """Return titles, tables and notes as they must be read back."""
    titles, texts, lines = [], [], []
    for title, wide, beside, notes in tables(frame):
        titles.append(cells.plain(title))
        texts += [[list(part.columns), *part.to_numpy().tolist()] for part in (wide, beside) if len(part)]
        lines += [cells.plain(note).strip() for note in notes]
    return titles, [[[cells.plain(cell).strip() for cell in line] for line in text] for text in texts], lines


def from_markdown(text: str) -> tuple[list[str], list[Table], list[str]]:
    """Return titles, tables and notes; AssertionError if any text holds more than text."""
    titles, found, notes, parents = [], [], [], [""]
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        if token.type == "inline":
            assert all(child.type == "text" for child in token.children or []), token
            said = "".join(child.content for child in token.children or [])
            assert parents[-1] in ("heading_open", "th_open", "td_open", "paragraph_open"), parents
            if parents[-1] in ("th_open", "td_open"):
                found[-1][-1].append(said)
            else:
                (titles if parents[-1] == "heading_open" else notes).append(said)
        elif token.nesting:
            parents = [*parents, token.type] if token.nesting == 1 else parents[:-1]
            assert token.tag in "h2 table thead tbody tr th td ul li p".split(), token
    return titles, found, notes


class Page(HTMLParser):
    """Takes titles, tables and notes from a page, and fails at any other tag."""

    def __init__(self) -> None:
        super().__init__()
        self.titles: list[str] = []
        self.tables: list[Table] = []
        self.notes: list[str] = []
        self.place: list[str] | None = None

    def handle_starttag(self, tag: str, attributes: object) -> None:
        assert tag in "h2 table thead tbody tr th td ul li".split(), tag
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        places = {"h2": self.titles, "li": self.notes}
        self.place = self.tables[-1][-1] if tag in ("th", "td") else places.get(tag)
        if self.place is not None:
            self.place.append("")

    def handle_endtag(self, tag: str) -> None:
        self.place = None

    def handle_data(self, data: str) -> None:
        if self.place is not None:
            self.place[-1] += data.replace("\xa0", " ")  # of two spaces
        assert self.place is not None or not data.strip()


def from_page(text: str) -> tuple[list[str], list[Table], list[str]]:
    page = Page()
    page.feed(text)
    page.close()
    return page.titles, page.tables, [note.strip() for note in page.notes]


BACK = {written: chr(code) for code, written in cells.LATEX.items()} | {"-{}": "-"}


def from_tex(text: str) -> Table:
    """Return the rows of the body of a table; AssertionError at a character that TeX would take for a command."""
    rows: Table = [[""]]
    while text:
        known = next((written for written in sorted(BACK, key=len, reverse=True) if text.startswith(written)), "")
        if known:
            rows[-1][-1] += BACK[known]
        elif text.startswith("\\\\\n"):
            known = "\\\\\n"
            rows.append([""])
        elif text.startswith(" & "):
            known = " & "
            rows[-1].append("")
        else:
            known = text[0]
            assert known not in "\\&%$#_{}~^[]\n" and not text.startswith("--"), text[:40]
            rows[-1][-1] += known
        text = text[len(known) :]
    return rows[:-1]


def from_latex(text: str) -> tuple[list[str], list[Table], list[str]]:
    """Return titles, tables and notes of tables between rules, with comments below."""
    begin, end = r"\\begin{table}\n\\caption{([^\n]*)}\n\\begin{tabular}{l+}\n", r"\\end{tabular}\n\\end{table}\n"
    body = re.compile(rf"{begin}\\toprule\n(.*?)\\midrule\n(.*?)\\bottomrule\n{end}", re.DOTALL)
    notes = [line for line in body.sub("", text).split("\n") if line]
    assert all(note.startswith("% ") for note in notes)
    found = body.findall(text)
    titles = [from_tex(title + "\\\\\n")[0][0] for title, *_ in found]
    texts = [[[cell.strip() for cell in line] for line in from_tex(head + rows)] for _, head, rows in found]
    return list(dict.fromkeys(titles)), texts, [note[2:].strip() for note in notes]


@pytest.mark.parametrize(("form", "read"), [("md", from_markdown), ("html", from_page), ("latex", from_latex)])
def test_titles_cells_and_notes_are_read_back(form, read) -> None:
    frame = board()
    titles, texts, notes = read(render(frame, form))
    expected = shown(frame)
    assert titles == expected[0] and len(notes) == len(expected[2])
    assert notes == expected[2]
    assert [len(text) for text in texts] == [len(text) for text in expected[1]]
    for text, wanted in zip(texts, expected[1], strict=True):
        assert [[cell.strip() for cell in line] for line in text] == wanted


def test_csv_is_read_back_and_holds_no_formula() -> None:
    frame = board()
    back = pd.read_csv(io.StringIO(render(frame, "csv")), dtype=str, keep_default_na=False)
    for column in frame:
        for text, cell in zip(frame[column], back[column], strict=True):
            if isinstance(text, str):
                assert cell == cells.csv(text) and cell.removeprefix("'") == cells.plain(text).removeprefix("'")
                assert cell[:1] not in ("=", "+", "-", "@") or float(cell)
    assert cells.csv("-1.5e3") == "-1.5e3" and cells.csv("=1") == "'=1" and cells.csv(-1.5) == -1.5


def test_terminal_reads_no_markup_and_sends_no_codes() -> None:
    text = terminal(board(), Console(width=4000, file=io.StringIO(), color_system=None))
    for cell in ("x[/nope]2", "folder:cats[draft] \\x1b|", ":bomb:", "\\x1b[31mred\\x07\\x00\\x9b6", "\\u202eto"):
        assert cell in text, cell
    assert all(char.isprintable() or char == "\n" for char in text)


def test_score_files_hold_no_formula_and_keep_their_lines(tmp_path) -> None:
    rows = [ScoreRow(**row("a", 1.0, metric=f"m{place}", reason=text)) for place, text in enumerate(HOSTILE)]
    write_rows(tmp_path / "scores.csv", rows)
    assert [one.reason for one in read_rows(tmp_path / "scores.csv")] == [cells.csv(text) for text in HOSTILE]
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 1 + len(rows)
    write_rows(tmp_path / "again.csv", read_rows(tmp_path / "scores.csv"))
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "scores.csv").read_bytes()
