"""A report as Markdown, its pictures beside it."""

from __future__ import annotations

import re

import pandas as pd

from gpt_experiments.report.document import (
    Block,
    Bullets,
    Claim,
    Claims,
    Command,
    Document,
    Heading,
    Link,
    Paragraph,
    Picture,
    SideBySide,
    Table,
    Verbatim,
)


def render_markdown(document: Document) -> str:
    """The text; pictures are looked for as `NAME.png` in the folder where it lies."""
    parts = [f"# {escape(document.title)}", escape(document.subtitle), *map(escape, document.lead)]
    for section in document.sections:
        parts.append(f"## {escape(section.title)}")
        parts += [_block(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: pd.DataFrame, left: list[str]) -> str:
    """The table in the form that MLflow, GitHub and most others show."""
    lines = [
        [escape(str(name)) for name in table.columns],
        ["---" if name in left else "---:" for name in table.columns],
        *([escape(str(cell)) for cell in row] for row in table.itertuples(index=False)),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def escape(text: str) -> str:
    """Escape the text, so that nothing in it is read as markup."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text)


def _block(block: Block) -> str:
    match block:
        case Paragraph(text=text):
            return escape(text)
        case Link(file=file, text=text):
            return f"[{escape(file)}]({file}) {escape(text)}"
        case Heading(text=text):
            return f"### {escape(text)}"
        case Bullets(items=items):
            return "\n".join(f"- {escape(item)}" for item in items)
        case Command(text=text):
            return f"    {text}"
        case Table():
            return f"{markdown_table(block.shown, list(block.left))}\n\n{escape(block.caption)} ({block.name}.csv)"
        case Picture():
            return f"![{escape(block.alt)}]({block.name}.png)\n\n{escape(block.caption)}"
        case SideBySide(pictures=pictures):
            return "\n\n".join(map(_block, pictures))
        case Claims(claims=claims, table=table, left=left):
            parts = [_claim(claim, list(left)) for claim in claims]
            return "\n\n".join([*parts, f"{escape(table.caption)} ({table.name}.csv)"])
        case Verbatim(texts=texts):
            return "\n\n".join(f"### {escape(title)}\n\n{_indented(text)}" for title, text in texts)


def _claim(claim: Claim, left: list[str]) -> str:
    head = f"### {escape(claim.text)} ({escape(claim.standing)})"
    numbers = [markdown_table(claim.numbers, left)] if len(claim.numbers) else []
    return "\n\n".join([head, escape(claim.finding), *numbers])


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
