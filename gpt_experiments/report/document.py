"""The parts of a report, independent of its format: sections of sentences, tables, pictures and texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Plain sentences."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Link:
    """A sentence that begins with the name of a file beside the report, by which it is opened."""

    file: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Heading:
    """The title of what follows within a section."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Bullets:
    """Plain sentences, one below the other."""

    items: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command for the user to type."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, and a CSV file.

    Attributes:
        name: of the file, without an ending.
        shown: what a reader sees: the column names are the heads, the cells are texts.
        data: what the file holds, unrounded; `shown` itself where that is None.
        left: columns of `shown` that hold words.
    """

    name: str
    caption: str
    shown: pd.DataFrame
    data: pd.DataFrame | None = None
    left: Sequence[str] = ()

    @property
    def values(self) -> pd.DataFrame:
        """What the file holds."""
        return self.shown if self.data is None else self.data


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure, a PNG file and an SVG file.

    Attributes:
        name: of the files, without an ending.
        alt: what it shows, for those who do not see it.
        as_image: to be shown as pixels: it has thousands of cells.
    """

    name: str
    caption: str
    alt: str
    figure: Figure
    as_image: bool = False


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """Pictures beside each other where there is room."""

    pictures: Sequence[Picture]


@dataclass(frozen=True, kw_only=True)
class Verbatim:
    """Texts side by side, each under its title, set as they are."""

    texts: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement that was tested.

    Attributes:
        standing: what became of it, in a word or two.
        finding: what was found, in sentences.
        numbers: what the finding rests on, a row each, the most important one first.
        key_rows: how many of them stand below the finding; the others are folded away.
    """

    text: str
    standing: str
    finding: str
    numbers: pd.DataFrame
    key_rows: int


@dataclass(frozen=True, kw_only=True)
class Claims:
    """Statements that were tested, one below the other; the table is a file alone.

    Attributes:
        left: columns of the claims' numbers that hold words.
    """

    claims: Sequence[Claim]
    table: Table
    left: Sequence[str] = ()


Block = Paragraph | Link | Heading | Bullets | Command | Table | Picture | SideBySide | Verbatim | Claims


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report; `anchor` names it in addresses."""

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, kw_only=True)
class Document:
    """A whole report; `lead` stands above all sections, `left_out` names what could not be read."""

    title: str
    subtitle: str
    lead: Sequence[str]
    sections: Sequence[Section] = field(default_factory=tuple)
    left_out: Sequence[str] = ()

    def tables(self) -> list[Table]:
        found: list[Table] = []
        for section in self.sections:
            for block in section.blocks:
                found += [block] if isinstance(block, Table) else []
                found += [block.table] if isinstance(block, Claims) else []
        return found

    def pictures(self) -> list[Picture]:
        found: list[Picture] = []
        for section in self.sections:
            for block in section.blocks:
                found += [block] if isinstance(block, Picture) else []
                found += block.pictures if isinstance(block, SideBySide) else []
        return found
