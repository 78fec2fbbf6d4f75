"""The static check: every way an entry may be wrong, each with its outcome and remedy."""

from __future__ import annotations

import hashlib
import json
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from challenge.data.challenges.challenge import Challenge
from challenge.methods import registry
from challenge.submissions.entries import archive, member_names
from challenge.submissions.entries.check import check
from challenge.submissions.entries.teams import Teams
from challenge.submissions.entries.violations import Violation, outcome_of

MADE_FOR = {
    "autoencoder", "bilevel", "deq", "dncnn", "drunet", "ffdnet", "gsdrunet", "lipschitz", "lista",
    "lpd", "network", "neural_ode", "score", "unrolled", "vae",
}  # fmt: skip
"""Methods with `channels` among their knobs."""
TAKE_GREY = {"unrolled"}
"""Those whose networks for colours take grey images too."""
Contents = dict[str, bytes]


@pytest.fixture
def entry(make_entry: Callable[..., Path]) -> Path:
    return make_entry()


def read(path: Path) -> Contents:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def rewrite(path: Path, change: Callable[[Contents], None], *, manifest: bool = True) -> None:
    """Change the contents of an entry and, as a careful cheat would, its manifest with them."""
    contents = read(path)
    change(contents)
    if manifest and "manifest.json" in contents:
        facts = json.loads(contents["manifest.json"])
        facts["files"] = {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            for name, content in contents.items()
            if name != "manifest.json"
        }
        contents["manifest.json"] = json.dumps(facts).encode()
    archive.write(path, {name: [content] for name, content in contents.items()})


def edit(name: str, old: str, new: str) -> Callable[[Contents], None]:
    def change(contents: Contents) -> None:
        assert old.encode() in contents[name]
        contents[name] = contents[name].replace(old.encode(), new.encode())

    return change


def put(name: str, content: bytes) -> Callable[[Contents], None]:
    return lambda contents: contents.update({name: content})


def drop(name: str) -> Callable[[Contents], None]:
    return lambda contents: contents.pop(name) and None


def told(problems: list[Violation]) -> str:
    assert all(problem.remedy for problem in problems)
    return "\n".join(f"{problem.outcome}: {problem.mistake}" for problem in problems)


def test_a_packed_entry_has_no_problem(entry: Path, challenge: Challenge) -> None:
    assert check(entry) == []
    assert check(entry, challenge) == []
    assert outcome_of([]) == "ok"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (drop("weights.safetensors"), "alpha-mine.zip/weights.safetensors: is missing"),
        (drop("manifest.json"), "invalid_entry: alpha-mine.zip/manifest.json: is missing"),
        (drop("config.yaml"), "invalid_entry: alpha-mine.zip/config.yaml: is missing"),
        (drop("plugin/method.py"), "`plugin/method.py` is not in the entry"),
        (put("notes.txt", b"x"), "alpha-mine.zip/notes.txt: does not belong into an entry"),
        (put("plugin/data.json", b"{}"), "plugin/data.json: does not belong"),
        (put("plugin/.hidden.py", b""), "plugin/.hidden.py: does not belong"),
        (put("plugin/__pycache__/x.py", b""), "plugin/__pycache__/x.py: does not belong"),
        (put("weights.pt", b"x"), "unsafe_weights: alpha-mine.zip/weights.pt: is a `.pt` file"),
        (put("plugin/NUL.py", b""), "plugin/NUL.py: has a name that Windows keeps for a device"),
        (put("plugin/com1.tar.py", b""), "has a name that Windows keeps for a device; rename it"),
        (put("plugin/Aux .py", b""), "has a name that Windows keeps for a device"),
        (put("plugin/con/x.py", b""), "plugin/con/x.py: has a name that Windows keeps"),
        (put("more.zip", b"PK"), "alpha-mine.zip/more.zip: is an archive inside the entry"),
        (put("plugin/net.tar.gz", b"x"), "plugin/net.tar.gz: is an archive inside the entry"),
        (put("plugin/net.WHL", b"x"), "plugin/net.WHL: is an archive inside the entry; put the"),
        (put("plugin/net.PKL", b"x"), "unsafe_weights: alpha-mine.zip/plugin/net.PKL: is a `.pkl`"),
        (put("plugin/x.pth", b"x"), "unsafe_weights"),
        (put("../escape.py", b""), "has a name that leads out of its folder"),
        (put("/etc/passwd", b""), "has a name that is not allowed"),
        (put("C:/x.py", b""), "has a name that is not allowed"),
        (put("plugin\\x.py", b""), "has a name that is not allowed"),
        (put("plugin/./x.py", b""), "has a name that leads out of its folder"),
        (put("plugin//x.py", b""), "has a name that is not allowed"),
        (put("plugin/x.py ", b""), "has a name that leads out of its folder"),
        (put("plugin/\u202ex.py", b""), "plugin/\\u202ex.py: has a name that is not allowed"),
        (put("plugin/Method.py", b""), "stands in the zip twice, also as `plugin/Method.py`"),
        (put("plugin/", b""), "has a name that is not allowed"),
        (put("plugin/broken.py", b"def f(:\n"), "broken.py:1: is not Python: invalid syntax"),
        (put("plugin/zero.py", b"x = 1\x00"), "plugin/zero.py: is not Python"),
        (put("plugin/deep.py", b"(" * 5000), "plugin/deep.py:1: is not Python"),
        (put("plugin/deeper.py", b"x=" + b"-" * 200_000 + b"1"), "plugin/deeper.py"),
        (put("plugin/long.py", b"#" * 200_001), "a Python file at most 200,000"),
        (edit("plugin/method.py", "class Mine", "class Mines"), "did you mean `Mines`?"),
        (edit("config.yaml", "method.py:Mine", "other.py:Mine"), "`plugin/other.py` is not in"),
        (edit("config.yaml", '"plugin/method.py:Mine"', "tvv"), "did you mean `tv`?"),
        (edit("config.yaml", '"plugin/method.py:Mine"', "3"), "`method.name` is missing"),
        (edit("config.yaml", "seed: 0", "seed: zero"), "alpha-mine.zip/config.yaml:31: `seed`"),
        (edit("config.yaml", "lr:", "lrr:"), "did you mean `lr`?"),
        (edit("config.yaml", "pretrained: false", "pretrained: true"), "does not agree with"),
        (edit("manifest.json", '"alpha"', '"Alpha!"'), "manifest.json: is wrong, `team`"),
        (edit("manifest.json", '"format": 1', '"format": 2'), "manifest.json: is wrong, `format`"),
        (edit("manifest.json", '"team"', '"teem"'), "is wrong, `"),
        (edit("manifest.json", '"tiny"', '"other"'), "is packed for `other`, this is `tiny`"),
        (put("weights.safetensors", b""), "weights.safetensors: is cut off"),
        (put("weights.safetensors", b"PK" * 50), "weights.safetensors: has a header of"),
    ],
)  # fmt: skip
def test_every_problem_has_its_outcome(
    entry: Path, challenge: Challenge, change: Callable[[Contents], None], expected: str
) -> None:
    rewrite(entry, change)
    problems = check(entry, challenge)
    assert expected in told(problems)
    if "unsafe" not in expected and "oversize" not in told(problems):
        assert outcome_of(problems) == "invalid_entry"


@pytest.mark.parametrize("text", ["x" * 201, "a\nb", "\x1b[2J", "\u202ea", "\x9bm", "\udcff"])
@pytest.mark.parametrize(
    "place",
    [
        lambda facts, text: facts.update(versions={"torch": text}),
        lambda facts, text: facts.update(versions={text: "2"}),
        lambda facts, text: facts["training"].update(machine=text),
        lambda facts, text: facts["training"].update(source=text),
        lambda facts, text: facts["files"].update({text: facts["files"]["config.yaml"]}),
    ],
    ids=["a version", "of what", "the machine", "the images", "a file"],
)
def test_free_words_of_a_manifest_are_few_and_printable(
    entry: Path, place: Callable[[dict[str, Any], str], None], text: str
) -> None:
    """Results and tables repeat them."""

    def change(contents: Contents) -> None:
        facts = json.loads(contents["manifest.json"])
        facts["training"] = {
            "source": "builtin", "images": 1, "seed": 0, "seconds": 1.0, "machine": "one"
        }  # fmt: skip
        place(facts, text)
        contents["manifest.json"] = json.dumps(facts).encode()

    rewrite(entry, change, manifest=False)
    said = told(check(entry))
    assert "manifest.json: is wrong" in said
    assert all(line.isprintable() for line in said.splitlines())


def test_a_manifest_names_few_versions(entry: Path) -> None:
    versions = {f"package{number}": "1" for number in range(21)}

    def change(contents: Contents) -> None:
        facts = json.loads(contents["manifest.json"])
        contents["manifest.json"] = json.dumps(facts | {"versions": versions}).encode()

    rewrite(entry, change, manifest=False)
    assert "manifest.json: is wrong, `versions`" in told(check(entry))


def test_a_manifest_that_is_none(entry: Path) -> None:
    for content in (b"", b"[]", b"{}" * 600_000, b'{"format": 1' * 9, b"\xff", b"[" * 90_000):
        rewrite(entry, put("manifest.json", content), manifest=False)
        assert "manifest.json: is wrong" in told(check(entry))


@pytest.mark.parametrize("name", [*sorted(member_names.DEVICES), "Lpt9", "CoN"])
def test_windows_devices(entry: Path, name: str) -> None:
    for place in (f"plugin/{name}.py", f"plugin/{name}/x.py"):
        rewrite(entry, put(place, b""))
        assert f"{place}: has a name that Windows keeps for a device" in told(check(entry))


@pytest.mark.parametrize(
    "name", ["console", "com", "com10", "com0", "lpt", "nuls", "aux_", "x.con"]
)
def test_names_that_only_look_like_devices(entry: Path, name: str) -> None:
    rewrite(entry, put(f"plugin/{name}.py", b""))
    assert check(entry) == []


@pytest.mark.parametrize("ending", member_names.ARCHIVES)
def test_archives_inside_an_entry(entry: Path, ending: str) -> None:
    for place in (f"a{ending}", f"plugin/a{ending.upper()}"):
        rewrite(entry, put(place, b"x"))
        assert f"{place}: is an archive inside the entry" in told(check(entry))


def test_all_sources_together(entry: Path) -> None:
    def change(contents: Contents) -> None:
        contents |= {f"plugin/x{number:02}.py": b"#" * 199_000 for number in range(11)}

    rewrite(entry, change)
    text = told(check(entry))
    assert "plugin/x10.py: has 199,000 bytes, a Python file at most 200,000, all together" in text
    assert "plugin/x08.py" not in text


def test_all_problems_at_once(entry: Path, challenge: Challenge) -> None:
    def change(contents: Contents) -> None:
        put("net.pt", b"x")(contents)
        put("plugin/broken.py", b"def")(contents)
        edit("config.yaml", "seed: 0", "sed: 0")(contents)
        edit("manifest.json", '"tiny"', '"other"')(contents)

    rewrite(entry, change)
    text = told(check(entry, challenge, Teams.model_validate({"teams": {"alfa": {}}})))
    for part in ("net.pt", "broken.py", "did you mean `seed`", "`other`", "did you mean `alfa`"):
        assert part in text


def test_changed_after_packing(entry: Path, challenge: Challenge) -> None:
    rewrite(entry, edit("plugin/blocks.py", "0.0", "9.9"), manifest=False)
    assert "plugin/blocks.py: was changed after packing" in told(check(entry, challenge))
    rewrite(entry, drop("plugin/blocks.py"), manifest=False)
    assert "plugin/blocks.py: is missing" in told(check(entry, challenge))
    rewrite(entry, put("plugin/more.py", b""), manifest=False)
    assert "plugin/more.py: is not in the manifest" in told(check(entry, challenge))


def test_another_preparation(entry: Path, challenge: Challenge) -> None:
    rewrite(entry, edit("manifest.json", challenge.hash, "0" * 64))
    assert "is packed for another preparation of `tiny`" in told(check(entry, challenge))
    assert check(entry) == []


def test_rules(make_entry: Callable[..., Path], challenge: Challenge) -> None:
    from challenge.configs.schema.challenge import Rules
    from challenge.configs.schema.entry import Uses

    entry = make_entry(uses=Uses(pretrained=True))
    assert check(entry, challenge) == []
    strict = challenge.config.model_copy(update={"rules": Rules(pretrained="forbidden")})
    forbidding = Challenge(
        challenge.path, strict, {"format": 2, "seal": "", "practice": True, "files": {}}
    )
    assert "`uses.pretrained: true`, the challenge's rules forbid it" in told(
        check(entry, forbidding)
    )


@pytest.mark.parametrize("over", [0, 1])
def test_size_to_the_byte(entry: Path, challenge: Challenge, over: int) -> None:
    limit = 1_000_000  # of the tiny challenge
    for number in range(5):
        rewrite(entry, put(f"plugin/padding{number}.py", b"#" * 190_000))
    rewrite(entry, put("plugin/last.py", b"# "))
    rest = limit + over - sum(map(len, read(entry).values()))
    # The manifest writes the size of the padding: its digits must not change the total.
    for size in range(rest - 12, rest + 3):
        rewrite(entry, put("plugin/last.py", b"#" * size))
        if sum(map(len, read(entry).values())) == limit + over:
            break
    else:
        pytest.fail("no padding gives this size")
    problems = check(entry, challenge)
    if over:
        text = told(problems)
        assert "oversize: alpha-mine.zip: holds 1,000,001 bytes, 1,000,000 are allowed" in text
        assert "the largest: plugin/padding0.py 190,000" in text
        assert outcome_of(problems) == "oversize"
    else:
        assert problems == []


def test_a_huge_file_is_refused_without_being_read(tmp_path: Path, challenge: Challenge) -> None:
    """100,000,001 bytes in a sparse file: refused from the table of contents alone."""
    path = tmp_path / "alpha-big.zip"
    info = zipfile.ZipInfo("weights.safetensors", archive.DATE)
    with zipfile.ZipFile(path, "w") as file, file.open(info, "w") as member:
        for _ in range(100):
            member.write(bytes(1_000_000))
        member.write(b"\x00")
    text = told(check(path))
    assert "holds 100,000,001 bytes, 100,000,000 are allowed" in text
    assert "weights.safetensors 100,000,001" in text


def tensors(**described: tuple[str, list[int], bytes]) -> bytes:
    """A safetensors file, by hand."""
    header, data = {}, b""
    for name, (dtype, shape, content) in described.items():
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_values_that_are_no_numbers(entry: Path, challenge: Challenge) -> None:
    nan, inf = struct.pack("<f", float("nan")), struct.pack("<e", float("-inf"))
    content = tensors(
        a=("F32", [4], nan * 3 + bytes(4)),
        b=("I32", [1], nan),
        c=("F16", [2], inf + bytes(2)),
        d=("BF16", [2], b"\x80\x7f\xc0\xff"),
        e=("F64", [1], struct.pack("<d", float("inf"))),
        f=("F64", [1], struct.pack("<d", 1e308)),
    )
    rewrite(entry, put("weights.safetensors", content))
    problems = check(entry, challenge)
    assert [problem.outcome for problem in problems] == ["invalid_entry"]
    said = "weights.safetensors: holds 7 NaN or infinite values: `a` 3, `c` 1, `d` 2 and 1 more"
    assert said in told(problems)
    assert "persistent=False" in told(problems)
    # Beside other problems: each is told, and a spoilt manifest does not hide them.
    rewrite(entry, put("manifest.json", b"{}"), manifest=False)
    assert said in told(check(entry, challenge))


def test_a_large_entry_is_checked_in_two_seconds(entry: Path) -> None:
    """100 MB, every byte hashed and every value looked at, in little memory."""
    values = 24_990_000
    content = tensors(
        a=("F32", [values // 2], bytes(2 * values)), b=("F16", [values], bytes(2 * values))
    )
    rewrite(entry, put("weights.safetensors", content))
    script = """
import re, sys, time
from pathlib import Path
from challenge.submissions.entries.check import check
def peak():
    return int(re.search(r"VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1]) // 1024
before, began = peak(), time.process_time()
problems = check(Path(sys.argv[1]))
print(problems, time.process_time() - began, peak() - before, "torch" in sys.modules, sep="|")
"""
    command = [sys.executable, "-c", script, str(entry)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    problems, seconds, megabytes, torch = done.stdout.strip().split("|")
    assert problems == "[]"
    assert float(seconds) < 2
    assert int(megabytes) < 200
    assert torch == "False"


def write_raw(path: Path, *infos: tuple[zipfile.ZipInfo, bytes], **how: Any) -> None:
    with zipfile.ZipFile(path, "w", **how) as file:
        for info, content in infos:
            file.writestr(info, content)


def test_zips_that_are_none(entry: Path, tmp_path: Path) -> None:
    whole = entry.read_bytes()
    path = tmp_path / "bad.zip"
    cases: dict[bytes, str] = {
        b"": "is not a zip file",
        b"hello": "is not a zip file",
        whole[:-40]: "is cut off",
        whole[: len(whole) // 2]: "is cut off",
        b"PK\x05\x06" + bytes(18): "manifest.json: is missing",
        whole[:60] + b"\xff" + whole[61:]: "",
    }
    for content, expected in cases.items():
        path.write_bytes(content)
        problems = check(path)
        assert problems, expected
        assert expected in told(problems)
    assert "is not a file" in told(check(tmp_path))
    assert "is not a file" in told(check(tmp_path / "absent.zip"))


def test_every_byte_matters(entry: Path, challenge: Challenge) -> None:
    """A flipped byte is found, or is one that zip itself does not use; it is never a crash."""
    whole = bytearray(entry.read_bytes())
    contents = read(entry)
    for position in range(0, len(whole), 37):
        whole[position] ^= 0x55
        entry.write_bytes(whole)
        if not check(entry, challenge):
            assert read(entry) == contents
        whole[position] ^= 0x55


def test_links_encryption_compression_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "bad.zip"
    link = zipfile.ZipInfo("plugin/link.py", archive.DATE)
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    write_raw(path, (link, b"/etc/passwd"))
    assert "plugin/link.py: is a link" in told(check(path))
    plain = zipfile.ZipInfo("plugin/a.py", archive.DATE)
    plain.compress_type = zipfile.ZIP_DEFLATED
    write_raw(path, (plain, b"x = 1\n" * 100))
    assert "plugin/a.py: is compressed" in told(check(path))
    with pytest.warns(UserWarning, match="Duplicate"):
        write_raw(path, *(2 * [(zipfile.ZipInfo("plugin/a.py", archive.DATE), b"")]))
    assert "stands in the zip twice" in told(check(path))
    write_raw(path, (zipfile.ZipInfo("plugin/a.py", archive.DATE), b"x"))
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    assert "plugin/a.py: is encrypted" in told(check(path))


def test_overlapping_files_are_refused(tmp_path: Path) -> None:
    """Two members that share their bytes: the sum of sizes must not exceed the zip."""
    path = tmp_path / "bad.zip"
    infos = [zipfile.ZipInfo(f"plugin/{name}.py", archive.DATE) for name in "ab"]
    write_raw(path, (infos[0], b"x" * 1000), (infos[1], b""))
    raw = bytearray(path.read_bytes())
    second = raw.rindex(b"PK\x01\x02")
    raw[second + 16 : second + 28] = raw[raw.index(b"PK\x01\x02") + 16 :][:12]
    path.write_bytes(raw)
    assert "has files that overlap" in told(check(path))


def test_too_many_members_and_too_long_a_table(tmp_path: Path) -> None:
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number in range(2001):
            file.writestr(zipfile.ZipInfo(f"plugin/x{number}.py", archive.DATE), b"")
    assert "holds 2,001 files" in told(check(path))
    raw = bytearray(path.read_bytes())
    struct.pack_into("<I", raw, raw.rindex(b"PK\x05\x06") + 12, 1_000_000_000)
    path.write_bytes(raw)
    assert "has too long a table of contents" in told(check(path))


def test_extract_refuses_what_was_not_checked(entry: Path, tmp_path: Path) -> None:
    rewrite(entry, put("../escape.py", b"x"))
    with pytest.raises(ValueError, match="was not checked"):
        archive.extract(entry, tmp_path / "out" / "in")
    assert not list(tmp_path.rglob("escape.py"))


def grey(challenge: Challenge) -> Challenge:
    images = challenge.config.images.model_copy(update={"mode": "grey"})
    config = challenge.config.model_copy(update={"images": images})
    manifest = json.loads((challenge.path / "manifest.json").read_text())
    return Challenge(challenge.path, config, manifest)


@pytest.mark.parametrize("name", sorted(registry.METHODS))
def test_a_network_for_colours_is_refused_in_a_grey_challenge(
    make_entry: Callable[..., Path], challenge: Challenge, name: str
) -> None:
    """Without running it, for every method that is made for a number of channels."""
    for channels, section in ((3, f"name: {name}"), (1, f"name: {name}\n  channels: 1")):
        entry = make_entry()
        rewrite(entry, edit("config.yaml", 'name: "plugin/method.py:Mine"', section))
        for challenged, has in ((challenge, 3), (grey(challenge), 1)):
            said = told(check(entry, challenged))
            differs = name in MADE_FOR and channels != has
            differs &= not (name in TAKE_GREY and has == 1)
            words = {1: "grey", 3: "colour"}[channels]
            assert (f"`{name}` is for {words} images" in said) == differs, said
            assert (f"train it with `method.channels={has}`" in said) == differs


@pytest.mark.parametrize(
    ("section", "refused"),
    [
        ("name: ensemble\n  of: {name: unrolled, start: {name: drunet}}", ""),
        ("name: ensemble\n  of: {name: unrolled, channels: 1, start: {name: drunet}}", "drunet"),
        ("name: ensemble\n  of: {name: network}", "network"),
        ("name: pnp\n  denoiser: {name: drunet}", "drunet"),
    ],
)
def test_what_is_inside_a_method_sees_the_images_that_the_method_shows_it(
    make_entry: Callable[..., Path], challenge: Challenge, section: str, refused: str
) -> None:
    entry = make_entry()
    rewrite(entry, edit("config.yaml", 'name: "plugin/method.py:Mine"', section))
    said = told(check(entry, grey(challenge)))
    assert said.count("is for colour images") == bool(refused)
    assert f"`{refused}` is for colour images" in said or not refused


def test_a_section_of_a_team_s_own_with_a_name_in_it_is_no_method(
    entry: Path, challenge: Challenge
) -> None:
    written = 'name: "plugin/method.py:Mine"'
    rewrite(entry, edit("config.yaml", written, f"{written}\n  net: {{name: small}}"))
    assert "small" not in told(check(entry, challenge))
    section = "name: pnp\n  denoiser: {name: small}"
    rewrite(entry, edit("config.yaml", f"{written}\n  net: {{name: small}}", section))
    assert "there is no method `small`" in told(check(entry, challenge))


@pytest.mark.parametrize("name", ["{file: x.npy}", "[tv]", "3", "null"])
@pytest.mark.parametrize("place", ["", "pnp\n  denoiser: {name: "])
def test_a_name_that_is_no_word_is_told(
    entry: Path, challenge: Challenge, name: str, place: str
) -> None:
    section = f"name: {place}{name}" + ("}" if place else "")
    rewrite(entry, edit("config.yaml", 'name: "plugin/method.py:Mine"', section))
    key = "method.denoiser" if place else "method"
    assert f"`{key}.name` is missing" in told(check(entry, challenge))
