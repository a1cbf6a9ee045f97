from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

import oomscope
from oomscope.attribution import groups
from oomscope.cli import explain as command
from oomscope.model.holding import KINDS
from tests.support import brute_force, captures
from tests.support.transcriptions import EARLY, ORDINARY, linux_6_12

COMMAND = [sys.executable, "-m", "oomscope"]


def run(
    *arguments: str | Path, stdin: bytes | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        check=False,
        env={**os.environ, **(env or {})},
        timeout=120,
    )


def fails(result: subprocess.CompletedProcess[bytes], exit_code: int, sentence: str) -> None:
    """One sentence on stderr, nothing on stdout, the documented exit code, no traceback."""
    stderr = result.stderr.decode()
    assert result.returncode == exit_code, stderr
    assert result.stdout == b""
    assert "Traceback" not in stderr
    assert stderr.count("\n") == 1, stderr
    assert sentence in stderr


def test_text_names_the_culprit_first() -> None:
    """The command's first line is the answer; nothing else is on stderr."""
    result = run("explain", captures.CASE_6_12)
    assert result.returncode == 0
    assert result.stdout.startswith(b"leak_mb_write [leak] holds 137.0 MiB (35,072 pages)")
    assert result.stderr == b""


def test_kernel_and_json_formats() -> None:
    """--format kernel gives the patch's lines, --format json the contract."""
    kernel = run("explain", captures.CASE_6_12, "--format", "kernel")
    assert kernel.stdout.startswith(b"OOM: greatest memory consumer: 35072 pages are allocated from:\n post_alloc_hook")
    report = json.loads(run("explain", captures.CASE_6_12, "--format", "json").stdout)
    assert report["greatest_consumer"]["pages"] == captures.LEAKED_PAGES


def test_output_file(tmp_path: Path) -> None:
    """-o writes the report to a file and nothing to stdout."""
    path = tmp_path / "report"
    result = run("explain", captures.CASE_6_12, "-o", path)
    assert (result.returncode, result.stdout) == (0, b"")
    assert path.read_text().startswith("leak_mb_write [leak]")
    fails(run("explain", captures.CASE_6_12, "-o", tmp_path / "no" / "such"), 5, "no such file or directory")


def test_groups_filters_and_top() -> None:
    """--by, --sort, --top and filters reach the library."""
    result = run("explain", captures.CASE_6_12, "--by", "comm", "--sort", "name", "--top", "3", "--format", "json")
    report = json.loads(result.stdout)
    names = [row["name"] for row in report["groups"]["rows"]]
    assert names == sorted(names)
    assert (len(names), len(report["consumers"])) == (3, 3)
    filtered = run(
        "explain", captures.CASE_6_12, "--module", "leak", "--pid", "54,55", "--since", "5s", "--format", "json"
    )
    assert json.loads(filtered.stdout)["counted"] == {"pages": captures.LEAKED_PAGES, "stacks": 1}
    kinds = run("explain", captures.AFTER_6_12, "--kind", "slab", "--kind", "user", "--by", "kind", "--format", "json")
    assert {row["name"] for row in json.loads(kinds.stdout)["groups"]["rows"]} == {"slab", "user"}


@pytest.mark.slow
def test_gfp_flags_are_judged_by_what_they_stand_for() -> None:
    """--gfp finds what carries the flags, composites taken apart: the masks that the kernel prints are the witness."""
    bits = 0xCC0 | 0x100  # GFP_KERNEL and __GFP_ZERO of 6.12
    seen = brute_force.records(captures.text(captures.AFTER_6_12))
    expected = sum(record.pages for record in seen if record.gfp_mask & bits == bits)
    for asked in (
        "GFP_KERNEL|__GFP_ZERO",
        "gfp_kernel | __gfp_zero",
        "__GFP_FS|__GFP_IO|__GFP_DIRECT_RECLAIM|__GFP_ZERO",
    ):
        report = json.loads(run("explain", captures.AFTER_6_12, "--gfp", asked, "--format", "json").stdout)
        assert report["counted"]["pages"] == expected > 0
    exact = sum(record.pages for record in seen if record.gfp_mask == 0xCC0)
    for mask in ("0xcc0", "0x00CC0", "3264"):
        report = json.loads(run("explain", captures.AFTER_6_12, "--gfp", mask, "--format", "json").stdout)
        assert report["counted"]["pages"] == exact > 0
    fails(run("explain", captures.AFTER_6_12, "--gfp", "KERNEL"), 2, "neither a flag")


def test_choices_are_the_librarys() -> None:
    """What --help offers is what the library knows (repeated there so that --help stays fast)."""
    assert (command.PROPERTIES, command.SORTS, command.KINDS) == (groups.PROPERTIES, groups.SORTS, KINDS)
    asked = "stack culprit module comm pid tgid gfp order node zone memcg kind"
    assert sorted(command.PROPERTIES) == sorted(asked.split(" "))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["explain", "--help"]])
def test_help_and_version_are_light(arguments: list[str]) -> None:
    """Help and version need neither NumPy nor rich: that keeps them under 200 ms (make bench has the figure)."""
    code = f"""
import sys
sys.argv = ["oomscope", *{arguments!r}]
import oomscope.cli
try:
    oomscope.cli.main()
except SystemExit as stop:
    assert not stop.code
assert not {{"numpy", "rich", "zstandard", "multiprocessing"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("name", "content", "exit_code", "sentence"),
    [
        ("empty", b"", 1, "empty"),
        ("rubbish", os.urandom(4096) + b"\0\1\2", 3, "binary data of no known kind"),
        ("poem", b"Shall I compare thee to a summer's day?\n" * 20, 3, "text, but of no kind that is known here"),
        ("dmesg", b"[    1.000000] usb 1-1: new device\n", 1, "a kernel log without any OOM or allocation failure"),
        ("spoilt", b"Page allocated via order 0, mask", 3, "not one of 1 records is whole"),
        ("gzip", b"\x1f\x8b\x08\x00", 3, "the compressed stream is cut short"),
        ("zstd", b"\x28\xb5\x2f\xfd" + b"\xff" * 60, 3, "the compressed stream is corrupt"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path: Path, name: str, content: bytes, exit_code: int, sentence: str) -> None:
    """Each kind of bad file is named with what is wrong, and the documented exit code."""
    path = tmp_path / name
    path.write_bytes(content)
    result = run("explain", path)
    fails(result, exit_code, sentence)
    assert str(path).encode() in result.stderr
    fails(run("explain", "-", stdin=content), exit_code, sentence)


def test_bad_directories_and_paths(tmp_path: Path) -> None:
    """A directory with nothing known, an empty one, and a path that does not exist."""
    fails(run("explain", tmp_path), 1, "no files in what was given")
    (tmp_path / "a").write_text("words\n")
    (tmp_path / "b").write_text("words\n")
    fails(run("explain", tmp_path), 3, "nothing known among 2 files")
    fails(run("explain", tmp_path / "no such"), 2, "no such file or directory")
    fails(run("explain", tmp_path / ("x" * 300)), 2, "file name too long")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--format", "yaml"],
        ["--by", "colour"],
        ["--pid", "x"],
        ["--since", "tomorrow"],
        ["--since", "1e400"],
        ["--top", "0"],
        ["--kind", "pink"],
        ["--page-size", "512"],
        ["--no-such-option"],
    ],
    ids=" ".join,
)
def test_usage_errors(arguments: list[str]) -> None:
    """A wrong option is a usage error, exit code 2, without a traceback."""
    paths = [] if not arguments else [captures.CASE_6_12]
    result = run("explain", *paths, *arguments)
    assert result.returncode == 2
    assert result.stdout == b""
    assert b"Traceback" not in result.stderr
    assert b"Error: " in result.stderr


def test_since_after_until() -> None:
    """A window that ends before it begins is a bad question."""
    fails(run("explain", captures.CASE_6_12, "--since", "2h", "--until", "1h"), 2, "--since is after --until")


def test_an_unreadable_file_is_a_missing_privilege(tmp_path: Path) -> None:
    """Without permission the exit code is 4 and the sentence says what is refused."""
    path = tmp_path / "secret"
    path.write_bytes(linux_6_12(ORDINARY))
    path.chmod(0)
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.name.startswith(("pytest-", "popen-")):
            parent.chmod(0o755)
    drop = "import os, sys; os.setgid(65534); os.setuid(65534); " if os.geteuid() == 0 else "import os, sys; "
    # Imported before privileges go: nobody may be able to read the environment this runs from.
    code = (
        "import oomscope.cli, oomscope.pipeline.api, oomscope.cli.progress, oomscope.sources.base; "
        + drop
        + f"sys.argv = ['oomscope', 'explain', {str(path)!r}]; oomscope.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    fails(done, 4, f"{path}: permission denied")


def test_a_file_that_cannot_be_read_at_all() -> None:
    """An I/O error of the kernel is one sentence too."""
    result = run("explain", "/proc/self/mem")
    fails(result, 3, "/proc/self/mem: input/output error")


def test_names_with_escapes_in_the_path_are_shown_as_text(tmp_path: Path) -> None:
    """A file name cannot write to the terminal."""
    path = tmp_path / "a\x1b[31m\udcff"
    path.write_bytes(b"")
    result = run("explain", path)
    assert b"\x1b" not in result.stderr
    assert rb"\x1b[31m" in result.stderr


def test_nobody_to_name_is_said_in_machine_formats(tmp_path: Path) -> None:
    """A dump of early pages gives no kernel lines, and a sentence on stderr."""
    path = tmp_path / "dump"
    path.write_bytes(linux_6_12(EARLY))
    result = run("explain", path, "--format", "kernel")
    assert (result.returncode, result.stdout) == (0, b"")
    assert b"nobody can be named" in result.stderr


def test_a_partial_answer_says_so(tmp_path: Path) -> None:
    """Spoilt records are counted on stderr for machine formats and under Not known for people."""
    path = tmp_path / "dump"
    path.write_bytes(linux_6_12(ORDINARY) * 3 + linux_6_12(ORDINARY).replace(b"order 0", b"order 77"))
    kernel = run("explain", path, "--format", "kernel")
    assert kernel.returncode == 0
    assert kernel.stdout.startswith(b"OOM: greatest memory consumer: 3 pages")
    assert b"1 records are too damaged to count" in kernel.stderr
    told = b" ".join(run("explain", path).stdout.split())  # lines break where the path is long
    assert b"they are too damaged to count" in told


def test_no_colour_without_a_terminal_and_with_no_color() -> None:
    """Colour comes on a terminal only; NO_COLOR and --no-color switch it off, FORCE_COLOR on."""
    assert b"\x1b" not in run("explain", captures.CASE_6_12).stdout
    assert b"\x1b[" in run("explain", captures.CASE_6_12, env={"FORCE_COLOR": "1"}).stdout
    assert b"\x1b" not in run("explain", captures.CASE_6_12, env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).stdout
    assert b"\x1b" not in run("explain", captures.CASE_6_12, "--no-color", env={"FORCE_COLOR": "1"}).stdout


def on_terminal(*arguments: str | Path, env: Mapping[str, str] | None = None) -> bytes:
    """What a command writes to a terminal (stdout and stderr)."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**{k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}, **(env or {})},
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        written += piece
    os.close(ours)
    assert process.wait(60) == 0
    return written


def test_on_a_terminal() -> None:
    """A terminal gets colour, unless NO_COLOR or TERM=dumb says otherwise; a dumb one gets no progress bar either."""
    assert b"\x1b[1;31mleak_mb_write [leak]" in on_terminal("explain", captures.CASE_6_12, env={"TERM": "xterm"})
    uncoloured = on_terminal("explain", captures.CASE_6_12, env={"NO_COLOR": "1", "TERM": "xterm"})
    assert re.search(rb"\x1b\[[0-9;]*m", uncoloured) is None
    assert b"\x1b" not in on_terminal("explain", captures.CASE_6_12, env={"TERM": "dumb"})


@pytest.mark.slow
def test_slow_input_gets_a_progress_bar_on_a_terminal(tmp_path: Path) -> None:
    """After a second of reading, a bar with bytes done appears on stderr; off a terminal there is none."""
    fifo = tmp_path / "slow"
    os.mkfifo(fifo)
    code = f"""
import time
with open({str(fifo)!r}, "wb", buffering=0) as out:
    for _ in range(4):
        out.write({linux_6_12(ORDINARY)!r} * 3000)
        time.sleep(0.6)
"""
    feeder = subprocess.Popen([sys.executable, "-c", code])
    written = on_terminal("explain", fifo, env={"TERM": "xterm"})
    assert feeder.wait(10) == 0
    assert re.search(rb"\rslow |slow \x1b", re.sub(rb"\x1b\[2K", b"", written))
    assert re.search(rb"[\d.]+ [kMG]iB", re.sub(rb"\x1b\[[0-9;]*m", b"", written))
    assert b"Traceback" not in written
    quiet = subprocess.run(
        [*COMMAND, "explain", "-"], input=linux_6_12(ORDINARY) * 100, capture_output=True, check=True
    )
    assert quiet.stderr == b""


def test_a_closed_pipe_is_no_error() -> None:
    """`oomscope explain ... | head -1` ends quietly."""
    process = subprocess.Popen(
        [*COMMAND, "explain", str(captures.CASE_6_12), "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 0


def test_interrupted_while_reading(tmp_path: Path) -> None:
    """Ctrl-C while waiting for input ends with one line and 130."""
    fifo = tmp_path / "never"
    os.mkfifo(fifo)
    # A test run in the background may have inherited that interrupts are ignored.
    process = subprocess.Popen(
        [*COMMAND, "explain", str(fifo)],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with fifo.open("wb"):
        time.sleep(1.5)
        process.send_signal(2)
        assert process.wait(30) == 130
    assert process.stderr is not None
    assert process.stderr.read().strip() == b"oomscope: interrupted"
    process.stderr.close()


@pytest.mark.slow
def test_a_line_without_an_end_is_refused_in_bounded_memory() -> None:
    """A line longer than memory may be, as text and as a page_owner record, costs neither memory nor its neighbours."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_DATA, (300 << 20, 300 << 20)); "
    code = limit + "import sys; sys.argv = ['oomscope', 'explain', '-', '--format', 'json']; "
    code += "import oomscope.cli; oomscope.cli.main()"
    for before, after, expected in (
        (linux_6_12(ORDINARY) * 3 + b"Page allocated via order 0, mask ", b"\n" + linux_6_12(ORDINARY) * 2, 5),
        (b"", b"\n", None),
    ):
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(before)
            for _ in range(400):
                process.stdin.write(b"A" * (1 << 20))
            process.stdin.write(after)
        except BrokenPipeError:
            pass
        stdout, stderr = process.communicate(timeout=120)
        assert b"Traceback" not in stderr
        if expected is None:
            assert process.returncode == 3
        else:
            assert process.returncode == 0, stderr
            assert json.loads(stdout)["counted"]["pages"] == expected


def test_version() -> None:
    """--version prints the package's version."""
    assert run("--version").stdout.decode().strip() == f"oomscope, version {oomscope.__version__}"


def test_kernel_format_explains_the_latest_of_two_dumps() -> None:
    """The fast ranking knows no times, so with several inputs the order is still what they say."""
    for pair in ((captures.BEFORE_6_12, captures.AFTER_6_12), (captures.AFTER_6_12, captures.BEFORE_6_12)):
        assert run("explain", *pair, "--format", "kernel").stdout.startswith(
            b"OOM: greatest memory consumer: 35072 pages"
        )


def test_an_output_that_cannot_be_written_is_one_sentence() -> None:
    """A full device and a closed standard output or input end without a traceback."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "explain", captures.CASE_6_12], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 5
    assert done.stderr == b"oomscope: standard output: no space left on device\n"
    for redirection, stream in ((">&-", b"standard output"), ("- <&-", b"<stdin>")):
        shell = f"{sys.executable} -m oomscope explain {redirection} {captures.CASE_6_12 if '>' in redirection else ''}"
        done = subprocess.run(shell, shell=True, capture_output=True, check=False)
        assert done.returncode in (3, 5)
        assert done.stderr.count(b"\n") == 1
        assert stream in done.stderr


def test_a_file_name_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    """Escapes and invalid UTF-8 in the name of a file that is explained are shown as text, in every format."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/p\xff\x1b[31mRED"))
    path.write_bytes(linux_6_12(ORDINARY) * 3 + b"Page allocated via order 77")
    for form in ("text", "json", "kernel"):
        result = run("explain", path, "--format", form)
        assert result.returncode == 0
        assert b"\x1b" not in result.stdout + result.stderr
    assert run("explain", path, "-o", tmp_path / "out").returncode == 0


def test_a_dash_as_output_is_standard_output() -> None:
    """-o - writes where no -o would."""
    assert run("explain", captures.CASE_6_12, "-o", "-").stdout.startswith(b"leak_mb_write")


def test_help_keeps_its_examples_on_their_lines() -> None:
    """Help text shows each example on a line of its own."""
    lines = run("explain", "--help").stdout.decode().splitlines()
    assert "  oomscope explain page_owner.txt meminfo" in lines
    assert "\\b" not in "".join(lines)


def test_allocations_only_says_so_in_kernel_format(tmp_path: Path) -> None:
    """stack_count has no pages to print: nothing is printed, and why is said."""
    path = tmp_path / "show_stacks"
    path.write_text(" leak+0x1/0x2 [m]\nstack_count: 5\n\n")
    result = run("explain", path, "--format", "kernel")
    assert (result.returncode, result.stdout) == (0, b"")
    assert b"pages are not known" in result.stderr


def test_narrow_terminals_get_narrow_text() -> None:
    """Below 80 columns the text is as wide as the terminal, but for the kernel's own lines."""
    lines = run("explain", captures.CASE_6_12, env={"COLUMNS": "50"}).stdout.decode().splitlines()
    assert [line for line in lines if len(line) > 50 and "+0x" not in line and not line.startswith("OOM:")] == lines[:0]


def test_a_page_is_not_for_a_terminal() -> None:
    """Megabytes of HTML are refused there in a sentence; to a file or a pipe they go."""
    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, "-m", "oomscope", "explain", str(captures.AFTER_6_12), "--format", "html"]
        done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(theirs)
        os.close(ours)
    assert (done.returncode, done.stderr.decode()) == (
        2,
        "oomscope: an HTML page is not for a terminal; give it a file: -o FILE\n",
    )
    piped = subprocess.run(command, capture_output=True, check=False)
    assert piped.stdout.startswith(b"<!doctype html>")
