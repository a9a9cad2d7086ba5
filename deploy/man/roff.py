"""Turns Markdown, as far as the manual uses it, and the texts of the help into roff: macros of man(7), and tables of tbl(1)."""

import dataclasses
import re
import textwrap

# man shows text from the 8th of 80 columns to the 78th. An example may reach to the last one.
TEXT_COLUMNS = 71
CODE_INDENT = 2
CODE_COLUMNS = 80 - 7 - CODE_INDENT
# What tbl puts between two columns.
TABLE_GAP = 3
# A longer word or phrase doesn't head an entry of a list; it gets a column of a table.
LONGEST_TAG = 45


@dataclasses.dataclass(frozen=True)
class Heading:
    level: int
    text: str


@dataclasses.dataclass(frozen=True)
class Paragraph:
    text: str


@dataclasses.dataclass(frozen=True)
class Code:
    language: str
    lines: tuple


@dataclasses.dataclass(frozen=True)
class Table:
    header: tuple
    rows: tuple


@dataclasses.dataclass(frozen=True)
class Items:
    texts: tuple


BLOCK = re.compile(r"""
    ^```(?P<language>\w*)\n(?P<code>(?s:.*?))\n```$
    | ^(?P<level>\#+)[ ](?P<heading>.*)$
    | (?P<table>(?:^\|.*\n?)+)
    | (?P<items>^-[ ].*\n?(?:^(?:-|[ ])[ ].*\n?)*)
    | (?P<paragraph>(?:^(?!```).+\n?)+)
    """, re.MULTILINE | re.VERBOSE)


def blocks(markdown):
    """The blocks of a Markdown text, in their order."""
    return [_block(match) for match in BLOCK.finditer(markdown)]


def _block(match):
    found = match.groupdict()
    if found["code"] is not None:
        return Code(found["language"], tuple(found["code"].split("\n")))
    if found["heading"] is not None:
        return Heading(len(found["level"]), found["heading"])
    if found["table"] is not None:
        header, _, *rows = (_cells(line) for line in found["table"].splitlines())
        return Table(header, tuple(rows))
    if found["items"] is not None:
        return Items(tuple(_joined(text) for text in re.split(r"^- ", found["items"], flags=re.MULTILINE)[1:]))
    return Paragraph(_joined(found["paragraph"]))


def _cells(line):
    return tuple(cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1])


def _joined(text):
    return " ".join(text.split())


# Text within a line.

ESCAPES = str.maketrans({"\\": r"\e", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq", "-": r"\-"})
COMPOUND = re.compile(r"\W*[^\W_]+(?:-[^\W\d_]+)+\W*")
SPAN = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<bold>.+?)\*\*|(?<!\w)\*(?P<italic>[^*\s][^*]*)\*"
                  r"|!\[[^]]*\]\([^)]*\)|\[(?P<link>[^]]+)\]\((?P<target>[^)]*)\)|<(?P<address>https?://[^>]+)>")
OPTION = re.compile(r"(?<![^\s(\"])--?[a-z][a-z.-]*[a-z]|(?<![^\s(\"])-[a-z]\b")


def literal(text):
    """What is typed as it stands: each character is itself, and a dash is one that the shell understands."""
    return text.translate(ESCAPES)


def prose(text):
    """Words for people: a dash within a compound is a hyphen, and an apostrophe is one; other characters are themselves."""
    words = re.split(r"( +)", text)
    return "".join(literal(word).replace(r"\(aq", "'").replace(r"\-", "-" if COMPOUND.fullmatch(word) else r"\-") for word in words)


def bold(text):
    """A text to type."""
    return rf"\fB{literal(text)}\fR"


def italic(text):
    """A word that stands for another one."""
    return rf"\fI{literal(text)}\fR"


def address(text):
    """A URL, which may go on in the next line after a slash."""
    return literal(text).replace("/", r"/\:").replace(r"/\:/\:", "//")


def _spans(pattern, text, rendered):
    """The text as prose, except where the pattern fits."""
    out, end = "", 0
    for match in pattern.finditer(text):
        out += prose(text[end:match.start()]) + rendered(match)
        end = match.end()
    return out + prose(text[end:])


def inline(markdown, font="R"):
    """The text of a block of Markdown; `font` is the one around it."""
    def rendered(match):
        found = match.groupdict()
        if found["code"]:
            return rf"\fB{literal(found['code'])}\f{font}"
        if found["bold"]:
            return rf"\fB{inline(found['bold'], 'B')}\f{font}"
        if found["italic"]:
            return rf"\fI{inline(found['italic'], 'I')}\f{font}"
        if found["link"]:
            external = f" <{address(found['target'])}>" if found["target"].startswith("http") else ""
            return inline(found["link"], font) + external
        return address(found["address"] or "")
    return _spans(SPAN, markdown, rendered)


def plain(text):
    """A text of the help, where only options stand out."""
    return _spans(OPTION, text, lambda match: bold(match[0]))


def width(rendered):
    """How many columns a rendered text takes on one line."""
    return len(re.sub(r"\\\(..|\\[-e]", "x", re.sub(r"\\f.|\\[&:]", "", rendered)))


def line(rendered):
    """The text as a line of input: what roff would take for a request at its beginning is text."""
    return rf"\&{rendered}" if rendered[:1] in (".", "'") else rendered


# Blocks.

def section(title):
    return [f".SH {_argument(prose(title.upper()))}"]


def subsection(title):
    return [f".SS {_argument(inline(title))}"]


def _argument(rendered):
    return f'"{rendered}"' if " " in rendered else rendered


def tagged(entries):
    """A list of rendered terms, each with its rendered text."""
    return [each for tag, text in entries for each in (".TP", line(tag), *([line(text)] if text else []))]


def render(parts):
    """Blocks under a heading, as lines of roff."""
    lines, follows = [], False
    for block in parts:
        if isinstance(block, Paragraph) and not inline(block.text):
            continue  # An image.
        rendered, needs_gap = _rendered(block)
        lines += ([".PP"] if follows and needs_gap else []) + rendered
        follows = not isinstance(block, Heading)
    return lines


def _rendered(block):
    """The lines of a block, and whether it needs a blank line before it that it doesn't make itself."""
    match block:
        case Heading(level, text):
            return section(text) if level < 3 else subsection(text), False
        case Paragraph(text):
            return [line(inline(text))], True
        case Code(language, lines):
            return code(lines, language), True
        case Items(texts):
            return [each for text in texts for each in (r".IP \(bu 2", line(inline(text)))], False
        case Table(header, rows):
            cells = [[inline(cell) for cell in row] for row in rows]
            if len(header) == 2 and not header[1] and all(width(row[0]) <= LONGEST_TAG for row in cells):
                return tagged(cells), False
            return table([inline(cell) for cell in header], cells), True
    raise ValueError(f"no roff for {block}")


# Tables.

def table(header, rows):
    """A table whose cells break their lines where they must."""
    widths = _widths([max(width(row[index]) for row in [header, *rows]) for index in range(len(header))])
    lines = [".TS", " ".join("lb" for _ in header), " ".join(f"lw({columns}n)" for columns in widths) + "."]
    lines.append("\t".join(header))
    for row in rows:
        lines.append("\t".join(f"T{{\n{line(cell)}\nT}}" if cell else "" for cell in row))
    return lines + [".TE"]


def _widths(wanted):
    """How wide each column is: as it wants to be, or its share of what the narrower ones leave."""
    left, widths = TEXT_COLUMNS - TABLE_GAP * (len(wanted) - 1), {}
    for number, index in enumerate(sorted(range(len(wanted)), key=lambda index: wanted[index])):
        widths[index] = min(wanted[index], left // (len(wanted) - number))
        left -= widths[index]
    return [widths[index] for index in range(len(wanted))]


# Examples.

COMMENT = re.compile(r"(?P<code>.*?\S)\s+# (?P<comment>.*)")


def code(lines, language=""):
    """An example, as it stands; its lines are broken so that they fit and mean the same."""
    narrow = [each for text in lines for each in narrowed(text, language)]
    return [f".RS {CODE_INDENT}", ".EX", *(line(literal(each)) for each in narrow), ".EE", ".RE"]


def narrowed(text, language):
    """The lines that one long line of YAML or shell becomes."""
    if len(text) <= CODE_COLUMNS:
        return [text]
    indent = " " * (len(text) - len(text.lstrip()))
    match = COMMENT.fullmatch(text)
    statement, comment = (match["code"], match["comment"]) if match else (text, "")
    pieces = _broken(statement, indent + "    ", language)
    if not comment:
        return pieces
    if len(pieces) > 1 and len(f"{pieces[-1]} # {comment}") <= CODE_COLUMNS:
        return [*pieces[:-1], f"{pieces[-1]} # {comment}"]
    mark = f"{indent}# "
    return [*textwrap.wrap(comment, CODE_COLUMNS, initial_indent=mark, subsequent_indent=mark), *pieces]


def _broken(statement, indent, language):
    """YAML goes on in the next line after a comma within braces, shell after a blank, if a backslash ends the line."""
    if language != "yaml":
        return _filled(re.split(r"(?<=\S) +", statement), indent, " \\")
    pieces = _filled(re.split(r"(?<=,) ", statement), indent)
    fits = all(len(piece) <= CODE_COLUMNS for piece in pieces)
    return pieces if fits else _filled(re.split(r"(?<=[,{]) ", statement), indent)


def _filled(words, indent, end=""):
    """Lines with as many words as fit; what ends a line that isn't the last one fits, too."""
    lines = [words[0]]
    for word in words[1:]:
        if len(f"{lines[-1]} {word}{end}") <= CODE_COLUMNS:
            lines[-1] += f" {word}"
        else:
            lines.append(indent + word)
    return [line + end for line in lines[:-1]] + lines[-1:]
