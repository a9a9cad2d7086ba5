"""The man pages: what they take from the help and the manual, and how they look in a terminal of 80 columns."""

import json
import os
import re
import subprocess
import sys
import textwrap

import pytest

from servers import DEPLOY
from support import BINARY, run

ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MANROFFSEQ": ""}


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    """A directory as man has them, with every page."""
    directory = tmp_path_factory.mktemp("man")
    run(sys.executable, "-B", DEPLOY / "man" / "build.py", BINARY, directory)
    return directory


@pytest.fixture(scope="module")
def root():
    """The help of all commands, as the program dumps it."""
    return json.loads(run(BINARY, "--experimental-dump-help"))["command"]


def sources(manual):
    """The pages that aren't other names of one."""
    files = [file for file in sorted(manual.glob("man?/*")) if not file.read_text().startswith(".so ")]
    assert len(files) > 8
    return files


def shown(file):
    """What a terminal shows of a page."""
    return re.sub(".\b", "", run("man", "--pager=cat", "--local-file", file, env=ENVIRONMENT))


def page(manual, name):
    """What `man NAME` shows."""
    return re.sub(".\b", "", run("man", f"--manpath={manual}", "--pager=cat", name, env=ENVIRONMENT))


def flat(text):
    """A text without regard to where its lines end; a word with a hyphen may be on two."""
    return " ".join(re.sub(r"(\w-)\n +", r"\1", text.replace("’", "'").replace("‐", "-")).split())


def below(command):
    """A command, and all that are below it."""
    yield command
    for each in command.get("subcommands", ()):
        yield from below(each)


def test_every_page_is_rendered_without_a_warning(manual):
    for file in sources(manual):
        for checked in (["man", "--warnings", "--encoding=UTF-8", "--troff-device=utf8", "--ditroff", "--local-file", str(file)],
                        ["mandoc", "-Tlint", "-Wwarning", str(file)]):
            done = subprocess.run(checked, capture_output=True, text=True, env=ENVIRONMENT)
            assert done.returncode == 0 and done.stderr == "", f"{file.name}: {done.stderr}"
            assert checked[0] == "man" or done.stdout == ""


def test_every_page_fits_80_columns(manual):
    for file in sources(manual):
        lines = shown(file).splitlines()
        assert len(lines) > 20 and [line for line in lines if len(line) > 80] == [], file.name


def test_a_page_says_all_that_the_help_of_its_commands_says(manual, root):
    for top in root["subcommands"]:
        text = flat(page(manual, "netusage" if top["commandName"] == "help" else f"netusage-{top['commandName']}"))
        for command in below(top):
            runs = not command.get("subcommands")
            words = [*command["superCommands"], command["commandName"]] if runs else []
            abstracts = [each["abstract"] for each in command["arguments"] if runs and each["shouldDisplay"] and "abstract" in each]
            for said in (" ".join(words), command.get("discussion") if top is command or runs else None, *abstracts):
                assert flat(said or "") in text, f"the page of {top['commandName']} doesn't say: {said}"


def test_a_page_has_every_option_of_its_commands_with_its_default(manual, root):
    for top in root["subcommands"]:
        if top["commandName"] == "help":
            continue
        text = flat(page(manual, f"netusage-{top['commandName']}"))
        runnable = [each for each in below(top) if not each.get("subcommands")]
        options = [each for command in runnable for each in command["arguments"] if each["kind"] != "positional"]
        assert len(options) > 1
        for option in options:
            for name in option["names"] if option["shouldDisplay"] else ():
                typed = ("--" if name["kind"] == "long" else "-") + name["name"]
                assert re.search(rf"(?<!\S){re.escape(typed)}(?![\w-])", text), f"the page of {top['commandName']} has no {typed}"
            if "defaultValue" in option:
                assert f"(default: {option['defaultValue']})" in text


def test_the_first_page_lists_every_command_and_every_name_leads_to_its_page(manual, root):
    overview = flat(page(manual, "netusage"))
    for command in root["subcommands"]:
        name = f"netusage-{command['commandName']}"
        if name == "netusage-help":
            continue
        assert f"{name}(1) {command['abstract']}" in overview
        assert re.search(rf"\b{name}\b.* - ", flat(page(manual, name)))
    for reference in re.findall(r"\b(netusage[a-z.-]*)\((\d)\)", " ".join(shown(file) for file in sources(manual))):
        assert (manual / f"man{reference[1]}" / ".".join(reference)).exists(), reference


def test_the_page_of_the_configuration_names_every_key_that_netusage_knows(manual, tmp_path):
    file = tmp_path / "netusage.yaml"
    file.write_text("""
        x: 1
        sampling: { x: 1 }
        storage: { x: 1 }
        devices: { x: 1 }
        metrics: { x: 1 }
        csv_log: { x: 1 }
        applications: { x: 1 }
        quotas: [{ x: 1, count: { x: 1 }, except: { x: 1 }, cycle: { x: 1 }, rollover: { x: 1 }, price: { x: 1, over_limit: { x: 1 } } }]
        rate_limits: [{ x: 1 }]
        committed_rates: [{ x: 1 }]
        """)
    errors = subprocess.run([BINARY, "config", "check", file], capture_output=True, text=True).stderr
    known = [keys.split(", ") for keys in re.findall(r"x: is not a known key; known here are (.*)", errors)]
    assert len(known) == 16
    text = page(manual, "netusage.yaml")
    for key in sum(known, []):
        assert re.search(rf"(?<!\w){key}:", text), f"netusage.yaml(5) doesn't have {key}"


def test_the_examples_of_the_configuration_are_good_as_the_page_breaks_their_lines(manual, tmp_path):
    blocks = [textwrap.dedent(block) for block in re.findall(r"^ {9}\S.*\n(?:^ {9,}.*\n)+", page(manual, "netusage.yaml"), re.MULTILINE)]
    # Orders for a shell and the items of lists look like examples, but have lines that are neither a comment nor a key.
    found = [block for block in blocks if not re.search(r"^(?! |#|\w+:|$)", block, re.MULTILINE)]
    assert [block.count("timezone: local") + block.count("committed_rates:") for block in found] == [1, 2, 0, 0]
    # The first two are one file.
    for text in ["".join(found[:2]), *found[2:]]:
        (tmp_path / "netusage.yaml").write_text(text)
        run(BINARY, "config", "check", tmp_path / "netusage.yaml")


def test_what_roff_would_take_for_a_request_is_text(tmp_path):
    sys.path.insert(0, str(DEPLOY / "man"))
    import roff
    lines = [".SH no heading", "'br no break", r"\fBno bold\e and a \ more", '"quoted" --long-option `a^b~c` and [a link](x.md)']
    example = [".TH", "'tis", r"\n \\ \& ", '''"a" 'b' `c` ^ ~ - --x''']
    markdown = "\n\n".join(lines) + "\n\n```\n" + "\n".join(example) + "\n```\n\n| word | |\n| --- | --- |\n| `.x\\|y` | 'z' |\n"
    file = tmp_path / "odd.1"
    file.write_text("\n".join(['.TH ODD 1 2026-11-29 "x" "y"', *roff.section("Odd"), *roff.render(roff.blocks(markdown))]) + "\n")
    text = flat(shown(file))
    for line in [*(re.sub(r"`|\[|\]\(x.md\)", "", line) for line in lines), *example]:
        assert flat(line) in text
