#!/usr/bin/env python3
"""Writes the man pages: `deploy/man/build.py BINARY DIRECTORY`.

Commands and options come from the help of the binary, the other sections from the manual. So a page says what they say.
"""

import dataclasses
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys

import roff
from roff import bold, italic, plain

MANUAL = pathlib.Path(__file__).resolve().parents[1] / "manual"
# What nearly every command takes; it comes last.
COMMON = ("config.file", "storage.path", "version", "help")
OVERVIEW, CONFIGURATION = "netusage(1)", "netusage.yaml(5)"


@dataclasses.dataclass(frozen=True)
class Excerpt:
    """A section of the manual, with its subsections; without a heading, what stands in front of the first section."""

    file: str
    heading: str | None
    title: str | None = None  # Of the page's section, if the heading isn't.


@dataclasses.dataclass(frozen=True)
class Page:
    """The page of one command or of several; it has the name of the first, and the other names lead to it."""

    commands: tuple
    excerpts: tuple = ()
    related: tuple = ()
    summary: str | None = None  # For several commands; one has its own.

    @property
    def name(self):
        return f"netusage-{self.commands[0]}"


# In the order of netusage(1).
PAGES = (
    Page(("serve",), (Excerpt("configuration.md", "TLS and users"), Excerpt("configuration.md", "Who gets an answer")),
         ("netusage-service(1)",)),
    Page(("today", "apps", "week", "month", "year", "summary", "days", "months", "recent"),
         (Excerpt("commands.md", "Times and figures"), Excerpt("applications.md", "Names", "Names of applications")),
         ("netusage-live(1)", "netusage-export(1)", "netusage-quota(1)"),
         "Show what network interfaces carried."),
    Page(("live",), (), ("netusage-today(1)",)),
    Page(("quota",), (Excerpt("plans.md", "If the provider's figure is another one"), Excerpt("plans.md", "How a quota is")),
         ("netusage-check(1)",)),
    Page(("check",), (Excerpt("commands.md", "Exit status of `check`", "Exit status"),), ("netusage-quota(1)",)),
    Page(("export",), (Excerpt("history.md", "Export", "Formats"),), ("netusage-import(1)",)),
    Page(("import",), (Excerpt("history.md", "Import", "What is imported"),), ("netusage-export(1)",)),
    Page(("doctor",), (Excerpt("commands.md", "Is it right?", "Findings"),)),
    Page(("config",), (), ("netusage-serve(1)",)),
    Page(("applications",), (Excerpt("applications.md", "Switching it on"), Excerpt("applications.md", "What isn't seen")),
         ("netusage-today(1)", "netusage-service(1)")),
    Page(("service",), (Excerpt("../INSTALL.md", "What the service may do"),), ("netusage-serve(1)", "systemctl(1)")),
)
OVERVIEW_EXCERPTS = tuple(Excerpt("commands.md", heading) for heading in ("Rights", "Exit status", "Environment", "Files"))
CONFIGURATION_EXCERPTS = (
    Excerpt("configuration.md", "The file", "Description"), Excerpt("plans.md", None, "Plans"),
    *(Excerpt("plans.md", heading) for heading in ("Cycles", "Quotas", "Rate limits", "Committed rates")),
    Excerpt("applications.md", "Switching it on", "Applications"))


# The manual.

def excerpt(wanted):
    """The excerpt as a section of a page."""
    text = (MANUAL / wanted.file).read_text()
    found = _intro(roff.blocks(text)) if wanted.heading is None else _under(wanted.heading, roff.blocks(text))
    if not found:
        sys.exit(f"man pages: {wanted.file} has no section {wanted.heading!r}; correct PAGES in deploy/man/build.py")
    return roff.section(wanted.title or wanted.heading.replace("`", "")) + roff.render(found)


def _intro(blocks):
    """What a page of the manual says before its first section, without its title and the sentence for whom it is."""
    sections = [index for index, block in enumerate(blocks) if isinstance(block, roff.Heading)][1:]
    return blocks[2:sections[0]]


def _under(heading, blocks):
    """What stands under a heading, down to the next one that isn't below it."""
    found, level = [], None
    for block in blocks:
        if isinstance(block, roff.Heading):
            if level is not None and block.level <= level:
                break
            if level is None and block.text == heading:
                level = block.level
                continue
        if level is not None:
            found.append(block)
    return found


# The help.

class Command:
    """What the help says of a command."""

    def __init__(self, dumped):
        self.words = [*dumped.get("superCommands", ()), dumped["commandName"]]
        self.abstract = dumped["abstract"]
        self.discussion = [" ".join(text.split()) for text in (dumped.get("discussion") or "").split("\n\n") if text]
        self.arguments = [each for each in dumped.get("arguments", ()) if each["shouldDisplay"]]
        self.subcommands = [Command(each) for each in dumped.get("subcommands", ()) if each["commandName"] != "help"]

    @property
    def name(self):
        return self.words[-1]

    def runnable(self):
        """The commands below that do something, or this one."""
        return [each for command in self.subcommands for each in command.runnable()] or [self]

    def call(self):
        """How one types it, with what it can't do without."""
        words = [*map(bold, self.words), f"[{italic('options')}]"]
        words += [tag(each) for each in self.arguments if each["kind"] != "positional" and not each["isOptional"]]
        for each in self.arguments:
            if each["kind"] == "positional":
                words.append(f"[{tag(each)}]" if each["isOptional"] else tag(each))
        return " ".join(words)

    def about(self):
        """What it does, in paragraphs."""
        return [self.abstract, *self.discussion]


def tag(argument):
    """How an argument is typed."""
    value = italic(re.split(r"[.-]", argument["valueName"])[-1])
    if argument["kind"] == "positional":
        return value
    names = sorted(argument["names"], key=lambda name: name["kind"] == "long")
    typed = ", ".join(bold(("--" if name["kind"] == "long" else "-") + name["name"]) for name in names)
    return typed if argument["kind"] == "flag" else f"{typed} {value}"


def meaning(argument):
    text = argument.get("abstract") or ""
    default = argument.get("defaultValue")
    return plain(text if default is None or "(default:" in text else f"{text} (default: {default})")


def listed(words):
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def rank(argument):
    """Where in a list the argument stands: 0 unless it is a common one."""
    name = (argument.get("preferredName") or {}).get("name")
    return COMMON.index(name) + 1 if name in COMMON else 0


def entries(commands, kinds, first_rank=0):
    """A list of arguments, the common ones last; where only some of the commands take one, it says which."""
    takers = {}
    for command in commands:
        for each in command.arguments:
            if each["kind"] in kinds and rank(each) >= first_rank:
                takers.setdefault((rank(each), tag(each), meaning(each)), []).append(command)
    for (_, typed, text), some in sorted(takers.items(), key=lambda item: item[0][0]):
        only = "" if len(some) == len(commands) else f"With {listed([bold(each.name) for each in some])}: "
        yield typed, only + text


# Pages.

@dataclasses.dataclass(frozen=True)
class Edition:
    """What all pages say of the program, and when."""

    version: str
    date: str

    def head(self, name, part, others, summary):
        """The beginning of a page, up to its name and its aliases."""
        names = ", ".join(roff.literal(each) for each in (name, *others))
        return ["'\\\" t", ".\\\" Made by deploy/man/build.py.",
                ".nr HY 0", f'.TH {roff.literal(name.upper())} {part} {self.date} "netusage {self.version}" "netusage manual"',
                ".ad l", *roff.section("Name"), rf"{names} \- {_summary(summary)}"]


def _summary(text):
    """A sentence of the help, as the index of pages has it."""
    return plain(text[0].lower() + text[1:].rstrip("."))


def paragraphs(texts):
    return [each for text in texts for each in (".PP", roff.line(text))][1:]


def see_also(names):
    references = ", ".join(rf"{bold(name)}({part}" for name, part in (each.split("(") for each in names))
    return [*roff.section("See also"), references, ".PP",
            f"The Debian package has the whole manual in {bold('/usr/share/doc/netusage/manual')}."]


def command_page(page, commands, edition):
    """The page of some commands of the top level."""
    runnable = [each for command in commands for each in command.runnable()]
    summary = page.summary or commands[0].abstract
    lines = edition.head(page.name, 1, [f"netusage-{name}" for name in page.commands[1:]], summary)
    lines += [*roff.section("Synopsis"), *"\n.br\n".join(each.call() for each in runnable).split("\n")]
    about = [summary] if page.summary else (commands[0] if len(runnable) > 1 else runnable[0]).about()
    lines += [*roff.section("Description"), *paragraphs(plain(text) for text in about)]
    if len(runnable) > 1:
        lines += [*roff.section("Commands"),
                  *roff.tagged((" ".join(map(bold, each.words)), plain(" ".join(each.about()))) for each in runnable)]
    for title, kinds in (("Arguments", ["positional"]), ("Options", ["option", "flag"])):
        found = list(entries(runnable, kinds))
        lines += [*roff.section(title), *roff.tagged(found)] if found else []
    for wanted in page.excerpts:
        lines += excerpt(wanted)
    return lines + see_also([OVERVIEW, CONFIGURATION, *page.related])


def overview(root, edition):
    """netusage(1): every command in a line, and what is the same for all."""
    commands = {each.name: each for each in root.subcommands}
    lines = edition.head("netusage", 1, (), root.abstract)
    lines += [*roff.section("Synopsis"), rf"{bold('netusage')} {italic('command')} [{italic('options')}]", ".br",
              rf"{bold('netusage help')} [{italic('command')}]"]
    lines += [*roff.section("Description"), *paragraphs(plain(text) for text in root.discussion)]
    names = [name for page in PAGES for name in page.commands]
    lines += [*roff.section("Commands"),
              *roff.tagged((f"{bold('netusage-' + name)}(1)", plain(commands[name].abstract)) for name in names)]
    lines += [*roff.section("Common options"), *roff.tagged(entries([commands["serve"]], ["option", "flag"], first_rank=1))]
    for wanted in OVERVIEW_EXCERPTS:
        lines += excerpt(wanted)
    return lines + see_also([CONFIGURATION, *(f"{page.name}(1)" for page in PAGES)])


def configuration_page(edition):
    """netusage.yaml(5)."""
    lines = edition.head("netusage.yaml", 5, (), "Configuration of netusage: what is metered, and quotas.")
    lines += [*roff.section("Synopsis"), bold("/etc/netusage/netusage.yaml")]
    for wanted in CONFIGURATION_EXCERPTS:
        lines += excerpt(wanted)
    return lines + see_also([OVERVIEW, "netusage-config(1)", "netusage-quota(1)", "netusage-serve(1)"])


def pages(root, edition):
    """Every page, by the name of its file."""
    commands = {each.name: each for each in root.subcommands}
    described = [name for page in PAGES for name in page.commands]
    if set(described) != set(commands):
        sys.exit(f"man pages: PAGES in deploy/man/build.py and the help differ: {set(described) ^ set(commands)}")
    files = {"netusage.1": overview(root, edition), "netusage.yaml.5": configuration_page(edition)}
    for page in PAGES:
        files[f"{page.name}.1"] = command_page(page, [commands[name] for name in page.commands], edition)
        for alias in page.commands[1:]:
            files[f"netusage-{alias}.1"] = [f".so man1/{page.name}.1"]
    return files


def main():
    if len(sys.argv) != 3:
        sys.exit("man pages: name the binary and a directory: deploy/man/build.py .build/release/netusage .build/man")
    binary, directory = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2])

    def asked(flag):
        return subprocess.run([binary, flag], check=True, capture_output=True, text=True).stdout

    version = re.search(r"version (\S+)", asked("--version"))[1]
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or datetime.datetime.now().timestamp())
    edition = Edition(version, datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).date().isoformat())
    for name, lines in pages(Command(json.loads(asked("--experimental-dump-help"))["command"]), edition).items():
        file = directory / f"man{name[-1]}" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
