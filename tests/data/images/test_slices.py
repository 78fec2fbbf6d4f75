"""Folders of slices: what is read, what is refused, and that nothing tells of patients."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from challenge.configs.errors import UserError
from challenge.configs.schema.images import SliceImages, Values
from challenge.data.challenges.challenge import open_challenge
from challenge.data.images import codec, slice_files, slices
from challenge.data.images.patients import owners

try:
    import pydicom
except ModuleNotFoundError:
    pydicom = None

SIDE = 40
SECRET = "DOE^JANE"


def hounsfield(number):
    """Air, a body and something in it, in Hounsfield units."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    values = np.full((SIDE, SIDE), -1000)
    values[rows**2 + columns**2 < 14**2] = 40
    values[(rows - number % 7) ** 2 + columns**2 < 9] = 300 + number
    return values


def dicom(path, values, slope=1, intercept=-1024, **tags):
    """A CT slice with names, dates and numbers in its header, stored values unsigned."""
    if pydicom is None:
        pytest.skip("no pydicom: `pip install -e '.[dicom]'`")
    file = pydicom.dataset.FileDataset(path, {}, preamble=b"\0" * 128)
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = "1.2.826.0.1"
    file.SOPClassUID = pydicom.uid.CTImageStorage
    file.PatientName, file.PatientID, file.InstitutionName = SECRET, "77-4321", "Saint Elsewhere"
    file.PatientBirthDate, file.AccessionNumber = "19600413", "ACC-0815"
    file.Modality, file.Rows, file.Columns = "CT", *values.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 16
    file.HighBit, file.PixelRepresentation = 15, 0
    file.RescaleSlope, file.RescaleIntercept, file.PixelSpacing = slope, intercept, [0.5, 0.5]
    for name, value in tags.items():
        setattr(file, name, value)
    stored = np.rint((values - intercept) / slope).astype(np.uint16)
    file.PixelData = stored.tobytes()
    file.save_as(path, enforce_file_format=True)


CT = """
name: slices
images:
  source: slices
  path: slices
  size: 40
  val: 1
  test: 2
  values: {unit: HU, low: -1000, high: 1000, window: [-160, 240], pixel_mm: 0.5}
operator: {kind: ct, views: 12}
noise: {sigma: 0.01}
"""


def assert_nobody_is_named(public):
    """Neither in the content nor in the name of any file of a public folder."""
    for path in (path for path in public.path.rglob("*") if path.is_file()):
        for word in (b"doe", b"jane", SECRET.lower().encode(), b"4321", b"elsewhere", b"0815"):
            assert word not in path.read_bytes().lower(), (path, word)
            assert word.decode() not in path.name.lower()


def test_patients_are_kept_apart_and_never_named(tmp_path, prepare):
    """Of DICOM files and their names nothing is in the public folder; values are in the range."""
    folder = tmp_path / "Doe_Jane"
    for number in range(6):
        patient = folder / f"Doe_Jane_{number // 2}" / f"series-{number % 2}"
        patient.mkdir(parents=True, exist_ok=True)
        slope = 2 if number % 2 else 1  # each with a rescale of its own
        dicom(patient / f"jane-{number}.dcm", hounsfield(2 * number), slope)
    notices = []
    made = prepare(CT.replace("path: slices", "path: Doe_Jane"), notices=notices)
    assert f"{folder}: 3 patients, each a folder with all that is below it" in notices
    assert_nobody_is_named(made.public)
    sources = json.loads(made.hidden.sources.read_text())
    parents = {
        split: {source.rsplit("/", 3)[1] for source in sources[split].values()}
        for split in ("train", "val", "test")
    }
    assert sum(map(len, parents.values())) == len(set.union(*parents.values())) == 3
    for split in ("val", "test"):
        for identity, source in sources[split].items():
            owner = made.public.image("val", identity) if split == "val" else None
            x = codec.stored(owner or made.hidden.image(identity))
            assert x.dtype == np.float32
            number = int(source.rsplit("-", 1)[1].removesuffix(".dcm"))
            expected = (hounsfield(2 * number) + 1000) / 2000
            np.testing.assert_allclose(x[0], expected, atol=1e-6)
    challenge = open_challenge(made.public.path)
    assert challenge.window == (0.42, 0.62)
    assert challenge.train[0].shape == (1, SIDE, SIDE)


@pytest.mark.parametrize(
    "path",
    [
        "{train: Doe_Jane/train, val: Doe_Jane/jane-4321, test: doe}",
        "{train: Doe_Jane/train/../../Doe_Jane}",
        "Doe_Jane/train/..",
    ],
)
def test_no_folder_is_published(tmp_path, prepare, path):
    """However the folders are given: each may be called after a patient."""
    for number in range(7):
        folder = tmp_path / ("doe", "Doe_Jane/jane-4321", "Doe_Jane/train")[min(number // 2, 2)]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"jane-{number}.npy", hounsfield(number))
    made = prepare(CT.replace("path: slices", f"path: {path}"), "images.patients=file")
    assert_nobody_is_named(made.public)
    assert open_challenge(made.public.path).config.images.source == "slices"


def test_the_slices_of_a_folder_without_patients_are_told(tmp_path, prepare):
    """That neighbours may be in train and in test; not where the config says it."""
    (tmp_path / "slices").mkdir()
    for number in range(5):
        np.save(tmp_path / "slices" / f"{number}.npy", hounsfield(number))
    for patients, told in (("auto", 1), ("file", 0)):
        notices = []
        prepare(CT, f"images.patients={patients}", f"name={patients}", notices=notices)
        said = [line for line in notices if "every slice counts as a patient of its own" in line]
        assert len(said) == told, notices


@pytest.mark.parametrize(
    ("names", "patients"),
    [
        ("a/1 a/2 b/1", {"auto": "aab", "folder": "aab", "file": "012"}),
        ("a/s/1 a/t/1 b/s/1", {"auto": "aab", "folder": "012", "file": "012"}),
        ("x/y/a/s/1 x/y/a/t/1 x/y/b/1", {"auto": "aab", "folder": "012"}),
        ("a/1 a/2 3", {"auto": "aa2", "folder": "aa2"}),
        ("1 2 3", {"auto": "012", "folder": "aaa"}),
    ],
)
def test_whose_a_slice_is(names, patients):
    """Letters and numbers stand for a patient with several slices, and with one."""
    files = [Path("root", name) for name in names.split()]
    for kind, expected in patients.items():
        found = owners(config(patients=kind), files)
        for one, first in enumerate(files):
            for other, second in enumerate(files):
                same = expected[one] == expected[other]
                assert (found[first] == found[second]) == same, (kind, first, second)


def test_too_few_patients_are_told(tmp_path, prepare):
    """And the remedy works."""
    for number in range(6):
        folder = tmp_path / "slices" / f"{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{number}.npy", hounsfield(number))
    with pytest.raises(UserError, match=r"2 patients have too few: 0 of 6 .*patients=file"):
        prepare(CT)
    assert prepare(CT, "images.patients=file").counts == {"train": 3, "val": 1, "test": 2}


def test_a_folder_with_fewer_slices_than_asked_is_told(tmp_path, prepare):
    for number, name in enumerate(("train", "train", "train", "test", "val")):
        folder = tmp_path / "slices" / name
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{number}.npy", hounsfield(number))
    notices = []
    path = "{train: slices/train, test: slices/test, val: slices/val}"
    made = prepare(CT.replace("path: slices", f"path: {path}"), notices=notices)
    assert made.counts["test"] == 1
    assert not any("a patient of its own" in line for line in notices)  # they are divided already
    assert f"{tmp_path}/slices/test: test has 1 slices, `images.test` is 2" in notices


def test_no_other_tag_of_dicom_is_read(tmp_path, monkeypatch):
    """Than those of pixels and their meaning: what is not in memory cannot get anywhere."""
    dicom(tmp_path / "a.dcm", hounsfield(1))
    whole, read = pydicom.dcmread, []
    monkeypatch.setattr(pydicom, "dcmread", lambda *a, **k: read.append(whole(*a, **k)) or read[-1])
    np.testing.assert_array_equal(slice_files.read(tmp_path / "a.dcm").values, hounsfield(1))
    (seen,) = read
    assert {"PatientName", "PatientID", "AccessionNumber"} <= {
        each.keyword for each in whole(tmp_path / "a.dcm")
    }
    groups = {each.tag.group for each in seen if each.keyword != "Modality"}
    assert groups == {0x0028, 0x7FE0}


def test_of_functional_groups_nothing_else_is_kept(tmp_path, monkeypatch):
    dicom(tmp_path / "a.dcm", hounsfield(1))
    enhance(tmp_path / "a.dcm", "Shared")
    enhance(tmp_path / "a.dcm", "PerFrame", keep=True)
    whole, read = pydicom.dcmread, []
    monkeypatch.setattr(pydicom, "dcmread", lambda *a, **k: read.append(whole(*a, **k)) or read[-1])
    np.testing.assert_array_equal(slice_files.read(tmp_path / "a.dcm").values, hounsfield(1))
    (seen,) = read
    tags = {each.tag.group for each in seen.iterall() if each.keyword != "Modality"}
    assert tags == {0x0028, 0x7FE0}


@pytest.mark.parametrize(("kind", "unit"), [("US", ""), ("HU", "HU"), (None, "HU")])
def test_the_unit_of_dicom(tmp_path, kind, unit):
    """`US` is unspecified: it fits every stated unit, and that is told."""
    dicom(tmp_path / "a.dcm", hounsfield(1), **({"RescaleType": kind} if kind else {}))
    assert slice_files.read(tmp_path / "a.dcm").unit == unit
    said = []
    stated = Values(unit="HU", low=-1000, high=1000)
    here = {"train": [tmp_path / "a.dcm"]}
    assert slices._inspect(here, config(values=stated), lambda *_: None, said.append)[0]
    assert len(said) == (kind == "US")
    assert all("no unit in its rescale type (US)" in each for each in said)


PLACES = {
    "Shared": "SharedFunctionalGroupsSequence",
    "PerFrame": "PerFrameFunctionalGroupsSequence",
}
MACROS = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "PixelMeasuresSequence": ("PixelSpacing",),
}


def enhance(path, place, undefined=False, keep=False, **tags):
    """Put rescale and spacing into functional groups beside a date, as enhanced files have them."""
    file = pydicom.dcmread(path)
    group, dated = pydicom.Dataset(), pydicom.Dataset()
    dated.FrameAcquisitionDateTime, dated.FrameComments = "19600413", SECRET
    group.FrameContentSequence = [dated]
    for macro, names in MACROS.items():
        inner = pydicom.Dataset()
        for name in names:
            if (value := tags.get(name, file.get(name))) is not None:
                setattr(inner, name, value)
            if name in file and not keep:
                delattr(file, name)
        setattr(group, macro, [inner])
        group[macro].is_undefined_length = undefined
    setattr(file, PLACES[place], [group])
    file[PLACES[place]].is_undefined_length = undefined
    file.NumberOfFrames = 1
    file.save_as(path)


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_enhanced_files_are_read_as_plain_ones(tmp_path, place, undefined):
    """Values, unit and pixels are the same wherever rescale and spacing are written."""
    path = tmp_path / "a.dcm"
    for number, spacing in enumerate(([0.5, 0.5], [0.5, 0.9])):
        slope = 2 if number else 0.5
        given = {"RescaleType": "HU", "PixelSpacing": spacing}
        dicom(path, hounsfield(2 * number), slope, -1000, **given)
        plain = slice_files.read(path)
        enhance(path, place, undefined)
        found = slice_files.read(path)
        np.testing.assert_array_equal(found.values, hounsfield(2 * number))
        np.testing.assert_array_equal(found.values, plain.values)
        assert found.unit == plain.unit == "HU"
        assert found.pixel_mm == plain.pixel_mm == tuple(spacing)
        assert found.lacks == plain.lacks == ""


def test_the_nearest_rescale_holds(tmp_path):
    """Of the frame, then of all frames, then of the file; each as a whole."""
    path = tmp_path / "a.dcm"
    dicom(path, hounsfield(0))
    stored = hounsfield(0) + 1024
    enhance(path, "Shared", keep=True, RescaleSlope=2, RescaleIntercept=-7, PixelSpacing=[2, 2])
    found = slice_files.read(path)
    np.testing.assert_array_equal(found.values, 2 * stored - 7)
    assert found.pixel_mm == (2, 2)
    enhance(path, "PerFrame", keep=True, RescaleSlope=3, RescaleIntercept=-9, PixelSpacing=[3, 3])
    found = slice_files.read(path)
    np.testing.assert_array_equal(found.values, 3 * stored - 9)
    assert found.pixel_mm == (3, 3)


@pytest.mark.parametrize(
    ("gone", "changed", "stated", "used", "said"),
    [
        (
            ("RescaleSlope", "RescaleIntercept"),
            {},
            "HU",
            False,
            "has no rescale intercept, so that its numbers are not known to be in `HU`, left out; ",
        ),
        (("RescaleIntercept",), {}, "hu", False, "has no rescale intercept"),
        ((), {"RescaleIntercept": None}, "HU", False, "has no rescale intercept"),
        (("RescaleSlope", "RescaleIntercept"), {"Modality": "MR"}, "HU", False, "has no rescale"),
        (
            ("RescaleSlope", "RescaleIntercept"),
            {"Modality": "MR"},
            "signal",
            True,
            "no rescale intercept, its numbers are taken to be in `signal`",
        ),
        (("RescaleSlope", "RescaleIntercept"), {}, "", True, None),
        ((), {"Modality": "PT"}, "HU", True, "no rescale type, its numbers are taken to be in"),
        ((), {}, "HU", True, None),
    ],
)
def test_a_unit_that_is_not_known_is_told(tmp_path, gone, changed, stated, used, said):
    """What a scanner stored is never taken for Hounsfield units."""
    path = tmp_path / "a.dcm"
    dicom(path, hounsfield(1) + 1000, 1, 0, **changed)
    file = pydicom.dcmread(path)
    for name in gone:
        delattr(file, name)
    file.save_as(path)
    lines = []
    values = Values(unit=stated, low=0, high=2000)
    here = {"train": [path]}
    found, _ = slices._inspect(here, config(values=values), lambda *_: None, lines.append)
    assert bool(found) == used
    assert len(lines) == (said is not None)
    assert all(said in line for line in lines), lines


def config(**given):
    values = given.pop("values", Values(low=0, high=2))
    return SliceImages(source="slices", path="x", size=32, values=values, **given)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "eight.png", "sixteen.png"])
def test_every_kind_of_file_is_read(tmp_path, name):
    x = np.linspace(0, 1, 32 * 36).reshape(32, 36)
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, x[None])
    elif name == "a.npz":
        np.savez(path, x)
    elif name == "eight.png":
        Image.fromarray(np.rint(255 * x).astype(np.uint8)).save(path)
    else:
        Image.fromarray(np.rint(65535 * x).astype(np.uint16)).save(path)
    found = slice_files.read(path).values
    np.testing.assert_allclose(found, x, atol=0.002 if name == "eight.png" else 8e-6)
    unit = slices.image(config(), found)
    np.testing.assert_allclose(unit, found[:, 2:34] / 2)


def test_slices_are_cut_filled_up_and_shrunk():
    values = np.arange(40 * 20, dtype=float).reshape(40, 20) / 800
    found = slices.image(config(values=Values()), values)
    assert found.shape == (32, 32)
    np.testing.assert_array_equal(found[:, 6:26], values[4:36])
    assert not found[:, :6].any()
    assert not found[:, 26:].any()
    large = np.kron(np.random.default_rng(0).random((32, 32)), np.ones((3, 3)))
    small = slices.image(config(values=Values(), shrink=3), large)
    np.testing.assert_allclose(small, large[::3, ::3])


def test_the_phase_of_complex_slices_stays():
    values = np.exp(1j * np.linspace(0, 6, 32 * 32)).reshape(32, 32) * np.linspace(0, 3, 32)
    found = slices.image(config(mode="complex"), values)
    np.testing.assert_allclose(np.abs(found), (np.abs(values) / 2).clip(0, 1), atol=1e-12)
    np.testing.assert_allclose(np.angle(found[:, 1:]), np.angle(values[:, 1:]), atol=1e-12)


def write(path, kind):
    """A file of slices that cannot be used; values are stated in HU from -1000 to 1000."""
    x = hounsfield(1).astype(float)
    match kind:
        case "frames":
            dicom(path, np.stack([x] * 1)[0], NumberOfFrames=7)
        case "other unit":
            dicom(path, x, RescaleType="BQML")
        case "inverted":
            dicom(path, x, PhotometricInterpretation="MONOCHROME1")
        case "text in it":
            dicom(path, x, BurnedInAnnotation="YES")
        case "face":
            dicom(path, x, RecognizableVisualFeatures="YES")
        case "oblong":
            dicom(path, x, PixelSpacing=[0.5, 0.7])
        case "enhanced oblong":
            dicom(path, x, PixelSpacing=[0.5, 0.7])
            enhance(path, "Shared")
        case "tiny":
            np.save(path.with_suffix(".npy"), x[:3, :3])
        case "slope 0":
            dicom(path, x, RescaleSlope=0)
        case "cut off":
            dicom(path, x)
            path.write_bytes(path.read_bytes()[:-999])
        case "complex":
            np.save(path.with_suffix(".npy"), x * 1j)
        case "several":
            np.save(path.with_suffix(".npy"), np.stack([x] * 4))
        case "nan":
            np.save(path.with_suffix(".npy"), np.where(x > 0, np.nan, x))
        case "outside":
            np.save(path.with_suffix(".npy"), x + 5000)
        case "flat":
            np.save(path.with_suffix(".npy"), np.zeros((SIDE, SIDE)))
        case "objects":
            np.save(path.with_suffix(".npy"), np.array([{}]), allow_pickle=True)
        case "colour":
            Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(path.with_suffix(".png"))
        case "text":
            path.with_suffix(".png").write_text("slice")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("frames", "has 7 frames, left out; store each slice in a file of its own"),
        ("other unit", "its rescale is to `BQML`, `images.values.unit` is `HU`"),
        ("inverted", "counts from white to black (MONOCHROME1)"),
        ("text in it", "has text in its pixels, maybe a name (BurnedInAnnotation YES)"),
        ("face", "has a patient who can be recognised (RecognizableVisualFeatures YES)"),
        ("oblong", "has pixels of 0.5 by 0.7 mm, which are not square"),
        ("enhanced oblong", "has pixels of 0.5 by 0.7 mm, which are not square"),
        ("tiny", "has 3x3 pixels, fewer than the means are over (4), left out; give fewer by"),
        ("slope 0", "has a rescale slope of 0"),
        ("cut off", "is a DICOM file that is not read"),
        (
            "complex",
            "holds complex values where real ones are expected, left out; give `images.mode=",
        ),
        ("several", "has shape (4, 40, 40), a slice has (H, W)"),
        ("nan", "values that are not finite"),
        ("outside", "100 % of its values, 4000 to 5301, lie outside [-1000, 1000]"),
        ("flat", "has one value everywhere, 0"),
        ("objects", "is damaged or no slice"),
        ("colour", "has colours or transparency (RGB)"),
        ("text", "is no PNG, `.npy`, `.npz` or DICOM file"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(tmp_path, kind, text):
    write(tmp_path / "a.dcm", kind)
    stated = Values(unit="HU", low=-1000, high=1000)
    said = []
    shrink = 4 if kind == "tiny" else 1
    found, _ = slices._inspect(
        {"train": sorted(tmp_path.iterdir())},
        config(values=stated, shrink=shrink),
        lambda *_: None,
        said.append,
    )
    assert found == {}
    (line,) = said
    assert text in line, line
    with pytest.raises(UserError, match="a\\."):
        slices._inspect(
            {"train": sorted(tmp_path.iterdir())},
            config(values=stated, shrink=shrink, strict=True),
            lambda *_: None,
            said.append,
        )


def test_dicom_without_pydicom_says_what_to_install(tmp_path, monkeypatch):
    dicom(tmp_path / "a.dcm", hounsfield(1))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UserError, match="pip install 'challenge\\[dicom\\]'"):
        slice_files.read(tmp_path / "a.dcm")


def test_too_few_slices_are_told(tmp_path, prepare):
    folder = tmp_path / "slices"
    folder.mkdir()
    for number in range(4):
        np.save(folder / f"{number}.npy", hounsfield(number))
    with pytest.raises(UserError, match="1 of 4 different slices are left to train on, 2 are"):
        prepare(CT)


@pytest.mark.parametrize("kind", ["frames", "complex", "other unit", "text"])
def test_a_folder_of_which_nothing_can_be_used_is_told(tmp_path, prepare, kind):
    """With the first cause and its remedy, not as one without slices; a line for each folder."""
    folder = tmp_path / "slices"
    folder.mkdir()
    for number in range(4):
        write(folder / f"{number}.dcm", kind)
    notices = []
    with pytest.raises(UserError) as raised:
        prepare(CT, notices=notices)
    (mistake,) = raised.value.mistakes
    assert mistake.cause.startswith(f"none of the 4 slices in `{folder}` can be used, 0.")
    cause = mistake.cause.split(": ", 1)[1]
    assert [line for line in notices if f"{cause}, left out; {mistake.remedy}" in line], notices
    for split in ("test", "val"):
        (tmp_path / split).mkdir()
        write(tmp_path / split / "a.dcm", kind)
    np.save(folder / "good.npy", hounsfield(1))
    with pytest.raises(UserError) as raised:
        prepare(CT.replace("path: slices", "path: {train: slices, val: val, test: test}"))
    told = {mistake.cause.split("`")[1] for mistake in raised.value.mistakes}
    assert told == {f"{tmp_path}/val", f"{tmp_path}/test"}
