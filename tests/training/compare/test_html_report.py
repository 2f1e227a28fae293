from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from detector.images import BGRImage
from detector.input_size import square
from detector.score import Detection
from tests.training.compare.test_compare import comparison, failing, quick
from tests.training.conftest import SIDE, draw_part, write_picture
from training.compare import charts
from training.compare.candidates import TrainingData
from training.compare.charts import Outcome
from training.compare.compare import Section, compare, prepare
from training.compare.exhibits import CLOSEST, LONGEST_SIDE, WORST, worst
from training.compare.html_report import as_html
from training.measure.evaluate import evaluate

VOID = {"meta", "img", "br", "link", "input", "hr"}
HOSTILE_FOLDER = "<img src=x onerror=alert(1)>"
HOSTILE_DEFECT = '"><script>alert(2)<'
HOSTILE_FILE = "{{ 7*7 }} & 'x' <b>.png"


class Page(HTMLParser):
    """Every element with its attributes; fails on tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert len(attributes) == len(dict(attributes)), (tag, attributes)
        self.elements.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Section:
    folder = tmp_path_factory.mktemp("hostile") / HOSTILE_FOLDER
    for number in range(8):
        write_picture(folder / f"train/good/{number}.png", draw_part(number))
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[40:56, 40:56] = 255
    for number in range(2):
        write_picture(folder / f"test/good/{number}.png", draw_part(50 + number))
    write_picture(folder / "test" / HOSTILE_DEFECT / HOSTILE_FILE, draw_part(60, defect=True))
    write_picture(folder / "ground_truth" / HOSTILE_DEFECT / f"{HOSTILE_FILE[:-4]}_mask.png", mask)
    (folder / "test" / HOSTILE_DEFECT / "broken <i>.png").write_bytes(b"")
    models = [quick("patchcore"), quick("small", coreset_size=5), failing("peer", ImportError("<script>no</script>"))]
    (section,) = compare(prepare([folder]), models)
    return section


@pytest.fixture(scope="module")
def html(hostile: Section) -> str:
    return as_html(comparison([hostile, replace(hostile, title="second")], pending=("<u>third</u>",)))


def test_names_cannot_become_markup(html: str) -> None:
    page = Page(html)
    assert not {tag for tag, _ in page.elements} & {"script", "b", "i", "u", "iframe", "object"}
    assert not [attributes for _, attributes in page.elements if any(name.startswith("on") for name in attributes)]
    for name in (HOSTILE_FOLDER, HOSTILE_DEFECT, HOSTILE_FILE, "broken <i>.png", "<u>third</u>", "<script>no</script>"):
        assert name in page.words, name


def test_the_page_needs_nothing_else(html: str) -> None:
    page = Page(html)
    assert not page.all("link")
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))
    sources = [
        value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href")
    ]
    assert all(value.startswith(("data:image/jpeg;base64,", "#")) for value in sources)
    styles = html.split("<style>")[1].split("</style>")[0]
    assert "@import" not in styles
    assert set(re.findall(r"url\(([^)]*)\)", styles)) == {"#hatch", "#hatch-wrong"}
    policies = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    ]


def test_pictures_are_small_jpegs_with_their_size(html: str) -> None:
    images = Page(html).all("img")
    assert len(images) >= 4 * 2
    for image in images:
        data = base64.b64decode(image["src"].partition(",")[2])
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape[:2] == (int(image["height"]), int(image["width"]))
        assert max(picture.shape[:2]) <= LONGEST_SIDE


def test_it_can_be_read_without_seeing_it(html: str) -> None:
    page = Page(html)
    assert page.all("html")[0]["lang"] == "en"
    assert all(image["alt"] for image in page.all("img"))
    assert all(header["scope"] in ("col", "row") for header in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) == 1 + 2 * 2
    charts_ = [svg for svg in page.all("svg") if "aria-hidden" not in svg]
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert charts_
    assert set(ids.values()) == {1}
    for svg in charts_:
        assert svg["role"] == "img"
        assert all(name in ids for name in svg["aria-labelledby"].split())
    targets = [link["href"][1:] for link in page.all("a")]
    assert targets and all(target in ids for target in targets)


def test_every_model_has_its_own_line_and_mark(html: str) -> None:
    keys = re.findall(r'class="key".*?</svg>', html)
    assert len(set(keys)) == 3
    styles = html.split("<style>")[1].split("</style>")[0]
    dashes = re.findall(r"\.s\d \{ stroke: [^}]*", styles)
    assert len(set(dashes)) == 7


def test_without_labelled_pictures_there_are_no_charts(tmp_path: Path) -> None:
    for number in range(6):
        write_picture(tmp_path / "flat" / f"{number}.png", draw_part(number))
    (section,) = compare(prepare([tmp_path / "flat"]), [quick("patchcore")])
    page = Page(as_html(comparison([section])))
    assert "There are no labelled pictures" in page.words
    assert not [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert not page.all("img")


def test_a_report_of_failures_alone_is_a_page(parts: Path) -> None:
    (section,) = compare(prepare([parts]), [failing("peer", ImportError("pip install peer"))])
    assert "pip install peer" in Page(as_html(comparison([section]))).words
    assert "Not compared yet" in Page(as_html(comparison([], pending=("disc",)))).words


def test_the_worst_pictures_come_first_and_mistakes_go_before_close_ones(parts: Path) -> None:
    (entry,) = prepare([parts])
    (section,) = compare([entry], [quick("patchcore")])
    (row,) = section.measured
    assert row.evaluation and row.exhibits
    assert (row.evaluation.false_rejects, row.evaluation.escapes) == (0, 0)
    assert len(row.exhibits.false_rejects) == len(row.exhibits.escapes) == CLOSEST
    good = sorted((picture.score for picture in row.evaluation.pictures if picture.defect == "good"), reverse=True)
    assert [exhibit.share * row.evaluation.threshold for exhibit in row.exhibits.false_rejects] == pytest.approx(
        good[:2]
    )
    assert not any(exhibit.wrong for exhibit in (*row.exhibits.false_rejects, *row.exhibits.escapes))
    assert [exhibit.outlined for exhibit in row.exhibits.escapes].count(False) <= 1  # one defect has no mask

    data = TrainingData("disc", entry.data_set.training, "")
    fitted = quick("patchcore").fit(data, lambda stage, fraction: None)
    everything_passes = replace(row.evaluation, threshold=1e6, false_rejects=0, escapes=4)
    exhibits = worst(fitted.model, entry.data_set.test, everything_passes)
    assert len(exhibits.escapes) == min(WORST, 4)
    assert all(exhibit.wrong for exhibit in exhibits.escapes)
    shares = [exhibit.share for exhibit in exhibits.escapes]
    assert shares == sorted(shares)


class HotInTheMiddle:
    """A stand-in for a model, so that where the heat is does not depend on one."""

    category, image_size, input_size, hash, runtime = "disc", 64, square(64), "0" * 64, "stand-in"
    threshold = 1.0

    def detect(self, frame: BGRImage, /) -> Detection:
        anomaly_map = np.zeros((12, 12), np.float32)
        anomaly_map[5:7, 5:7] = 2.0
        return Detection(2.0, anomaly_map)


def test_the_heat_map_and_the_outline_are_drawn(parts: Path) -> None:
    (picture,) = [picture for picture in prepare([parts])[0].data_set.test if picture.mask][:1]
    model = HotInTheMiddle()
    (shown,) = worst(model, [picture], evaluate(model, [picture])).escapes
    plain, heated = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
        for data in (shown.picture, shown.with_heat)
    )
    assert shown.outlined and not shown.wrong and shown.share == 2.0
    changed = np.abs(plain - heated).max(axis=2)
    assert changed[46:50, 46:50].min() > 60
    assert changed[39:42, 44:52].max() > 100  # the outline's upper edge
    assert np.median(changed[:24]) < 10


def test_roc_points_have_the_area_that_scikit_learn_finds() -> None:
    random = np.random.default_rng(0)
    for ties in (1, 10):
        scores = np.round(random.normal(size=60) * ties) / ties
        defective = random.random(60) < 0.4
        fpr, tpr = charts.roc_points(scores, defective)
        assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
        assert np.trapezoid(tpr, fpr) == pytest.approx(roc_auc_score(defective, scores))


def test_the_corner_is_enlarged_only_where_that_shows_something() -> None:
    perfect = Outcome("a", np.array([1.0, 2, 3, 4]), np.array([False, False, True, True]), 2.5)
    assert [chart.corner for chart in charts.roc([perfect])] == [1.0]
    scores = np.arange(200.0)
    nearly = Outcome("b", scores, np.array([index >= 100 or index == 98 for index in range(200)]), 99.5)
    assert [chart.corner for chart in charts.roc([perfect, nearly])] == [1.0, 0.05]
    useless = Outcome("c", np.ones(4), np.array([False, True, False, True]), 2.0)
    assert [chart.corner for chart in charts.roc([useless])] == [1.0]
    assert charts.roc([replace(perfect, defective=np.ones(4, np.bool_))]) == ()


def test_bars_beyond_the_threshold_are_the_mistakes() -> None:
    scores = np.array([0.5, 1.0, 1.01, 9.0, 0.99, 1.0, 1.5])
    defective = np.array([False, False, False, False, True, True, True])
    chart = charts.histograms([Outcome("a", 2 * scores, defective, 2.0)])["a"]
    for bars, mistakes in ((chart.good, 2), (chart.defective, 1)):  # 0.99 and 1.0 share a bin
        assert sum(bar.wrong for bar in bars) == mistakes
        for bar in bars:
            beyond = bar.x > chart.threshold
            assert beyond == (bar.wrong if bars is chart.good else not bar.wrong)
            assert bar.x >= 0 and bar.x + bar.width <= charts.WIDTH
            assert bar.y >= 0 and bar.y + bar.height <= charts.HISTOGRAM_HEIGHT


def test_names_in_the_trade_off_do_not_cover_one_another() -> None:
    points = [(f"anomalib-patchcore-{number}", 10.0 * 1.1**number, 1.0) for number in range(8)]
    chart = charts.trade_off(points)
    assert chart
    boxes = []
    for point in chart.points:
        length = min(charts.LETTER_WIDTH * len(point.mark.name), charts.LONGEST_LABEL)
        start = point.mark.x + (-10 - length if point.leftwards else 10)
        boxes.append((start, start + length, point.label_y))
    for index, (left, right, y) in enumerate(boxes):
        assert left >= charts.LEFT and right <= charts.WIDTH
        for other_left, other_right, other_y in boxes[:index]:
            assert right <= other_left or other_right <= left or abs(y - other_y) >= charts.LABEL_HEIGHT - 1
    assert charts.trade_off(points[:1]) is None
    everywhere = charts.trade_off([("n" * 99, 1.03**number, 1 - number / 100) for number in range(100)])
    assert everywhere and len(everywhere.points) == 100


def test_a_useless_model_still_fits_into_the_trade_off() -> None:
    chart = charts.trade_off([("a", 0.02, 0.0), ("b", 40_000.0, 1.0)])
    assert chart
    assert all(charts.TOP <= point.mark.y <= charts.HEIGHT - charts.BOTTOM for point in chart.points)
    assert all(tick.label.startswith(("0", "1")) for tick in chart.up)
