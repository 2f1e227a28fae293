"""What Prometheus reads, and whether everything that dashboard and alerts ask for is in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.app import create_app
from server.metrics import OfRecords, OfSinks, exposition, taken, written
from server.settings import Settings
from server.words import Figure
from tests.running import Running, running
from tests.server.fakes import GOOD, FakeModel, http, serving

DOCS = Path(__file__).parents[3] / "docs"
CODE = "a code nobody guesses"


async def scraped(server: Running, accept: str = "") -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    async with http(server) as client:
        answered = await client.get("/metrics", headers={"accept": accept} if accept else {})
    assert answered.status_code == 200 and "no-store" in answered.headers["cache-control"]
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answered.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


async def test_a_stream_s_frames_are_counted(model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path) as server, http(server) as client:
        assert (await scraped(server))["defectvision_ready"] == {(): 1.0}
        await client.post("/predict", files={"file": ("a.jpg", GOOD)})
        found = await scraped(server)
        assert found["defectvision_pool_in_work"] == {(): 0.0} and "process_resident_memory_bytes" in found


async def test_openmetrics_is_spoken_where_it_is_asked_for(model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path) as server, http(server) as client:
        asked = {"accept": "application/openmetrics-text; version=1.0.0"}
        answered = await client.get("/metrics", headers=asked)
        assert answered.headers["content-type"].startswith("application/openmetrics-text")
        assert answered.text.endswith("# EOF\n")
        hostile = await client.get("/metrics", headers={"accept": "text/plain;version=," * 1500})
        assert hostile.status_code in (200, 431)


async def test_it_is_behind_the_access_code(model: FakeModel, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, access_code=CODE)
    app = create_app(settings, code=CODE, make_model=lambda: model)  # type: ignore[arg-type, return-value]
    async with running(app, settings) as server, http(server) as client:
        assert (await client.get("/metrics")).status_code == 401
        told = await client.get("/metrics", headers={"Authorization": f"Bearer {CODE}"})
        assert told.status_code == 200 and "defectvision_ready" in told.text


class Broken:
    def figures(self) -> Iterator[Figure]:
        yield Figure("fine", "until now", 1)
        raise RuntimeError("no figures today")


class Many:
    def figures(self) -> Iterator[Figure]:
        for number in range(100_000):
            yield Figure("many", "of them", number, {"name": str(number)})


def test_who_fails_takes_nobody_along_and_nobody_is_endless(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposition, "MOST_LINES", 200)
    failed: set[object] = set()
    for _ in range(2):
        text, _ = written(taken([Broken(), Broken(), Many()], {}, "1", failed), "")  # type: ignore[arg-type]
    assert text.count(b"defectvision_many{") == 200 and b"defectvision_fine" not in text
    one = Broken()
    caplog.clear()
    for _ in range(3):
        taken([one], {}, "1", failed)  # type: ignore[arg-type]
    assert len(caplog.records) == 1


def test_labels_that_strangers_choose_break_nothing() -> None:
    class Strange:
        def figures(self) -> Iterator[Figure]:
            yield Figure("strange", "names", 1, {"name": 'a"b\\c\n# HELP x'})

    text, _ = written(taken([Strange()], {}, "1", set()), "")
    values = [one for family in text_string_to_metric_families(text.decode()) for one in family.samples]
    assert [one.labels["name"] for one in values if one.name == "defectvision_strange"] == ['a"b\\c\n# HELP x']


# what dashboard and alerts ask for

BY_PROMETHEUS = {"up"}
FUNCTIONS = {"sum", "min", "max", "rate", "increase", "histogram_quantile", "label_values"}
WORDS = FUNCTIONS | {"by", "and", "or", "unless", "on", "ignoring", "le"}
TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?![a-z]))|(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)|(?P<range>\[\d+[smhd]\])"
    r'|(?P<text>"[^"]*")|(?P<op>==|!=|>=|<=|=~|!~|[-+*/<>=,(){}]))'
)


@dataclass
class Tokens:
    """PromQL, cut into words; what cannot be cut is no PromQL."""

    text: str

    def __iter__(self) -> Iterator[tuple[str, str]]:
        at, depth = 0, list[str]()
        while self.text[at:].strip():
            found = TOKEN.match(self.text, at)
            assert found is not None, f"not PromQL at {self.text[at:]!r}"
            at = found.end()
            kind, word = str(found.lastgroup), found[str(found.lastgroup)]
            if word in "({" and kind == "op":
                depth.append(word)
            elif word in ")}" and kind == "op":
                assert depth and {"(": ")", "{": "}"}[depth.pop()] == word, f"brackets: {self.text}"
            yield ("label" if "{" in depth and kind == "name" else kind), word
        assert not depth, f"brackets: {self.text}"


def metrics_in(expression: str) -> set[str]:
    found, tokens = set[str](), [*Tokens(expression)]
    grouping = False
    for number, (kind, word) in enumerate(tokens):
        if kind == "range":
            assert tokens[number - 1][0] == "name" or tokens[number - 1][1] == "}", f"a range of nothing: {expression}"
        if word == "by":
            grouping = True
        elif grouping:
            grouping = word != ")"
        elif kind == "name" and word not in WORDS:
            found.add(word)
        if word in ("rate", "increase"):
            assert any(one == "range" for one, _ in tokens[number:]), f"no range: {expression}"
            counted = next(name for one, name in tokens[number + 1 :] if one == "name")
            assert counted.endswith(("_total", "_bucket", "_sum", "_count")), f"a rate of a gauge: {expression}"
    assert found, expression
    return found


def asked() -> dict[str, str]:
    """Expressions of the dashboard and the alerts, by where they stand."""
    board = json.loads((DOCS / "grafana" / "defectvision.json").read_text())
    found = {f"{one['title']} {two['refId']}": two["expr"] for one in board["panels"] for two in one.get("targets", ())}
    name = ""
    for line in (DOCS / "prometheus" / "alerts.yml").read_text().splitlines():
        if line.strip().startswith("- alert: "):
            name = line.partition(": ")[2]
        elif line.strip().startswith("expr: "):
            found[name] = line.partition("expr: ")[2]
    assert len(found) > 40
    return found


@pytest.fixture(scope="module")
def known() -> set[str]:
    """All names there are, from the server's own code: those a server without streams has no value of included."""
    names: set[str] = set()
    for module in (DOCS.parent / "server").rglob("*.py"):
        code = module.read_text()
        counters = {
            found[1] for found in re.finditer(r'Figure\(\s*"(\w+)"[^()]*(?:\([^()]*\)[^()]*)*"counter",?\s*\)', code)
        }
        for found in re.finditer(r'Figure\(\s*"(\w+)"', code):
            names.add(f"defectvision_{found[1]}{'_total' if found[1] in counters else ''}")
    names |= {f"defectvision_frames_{one}_total" for one in ("received", "inspected", "dropped", "failed", "anomalous")}
    names |= {f"defectvision_verdict_latency_seconds_{one}" for one in ("bucket", "sum", "count")}
    names |= {"process_cpu_seconds_total", "process_open_fds", "process_resident_memory_bytes"}
    return names


def test_every_metric_that_is_asked_for_exists(known: set[str]) -> None:
    for where, expression in asked().items():
        assert metrics_in(expression) <= known | BY_PROMETHEUS, where


def test_every_metric_is_described_for_operators(known: set[str]) -> None:
    page = (DOCS / "monitoring.md").read_text()
    missing = {
        name
        for name in known
        if name.startswith("defectvision_")
        and f"`{name.removesuffix('_bucket').removesuffix('_sum').removesuffix('_count')}`" not in page
    }
    assert not missing


@pytest.mark.parametrize("wrong", ["sum(x", "rate(x_total)", "rate(ready[5m])", "a ~ b", "sum)x(", "5 > 4"])
def test_what_is_no_promql_is_found(wrong: str) -> None:
    with pytest.raises(AssertionError):
        metrics_in(wrong)


def test_figures_of_what_stands_around() -> None:
    doing = SimpleNamespace(state="up", delivered=3, refused=1, dropped=2, waiting=4)
    one = SimpleNamespace(id="x", name="mes", kind="webhook")
    sinks = SimpleNamespace(all=[one], state=lambda id: doing)
    found = {figure.name: figure.value for figure in OfSinks(sinks).figures()}
    assert found["sink_up"] == found["sink_on"] == 1 and found["sink_backlog"] == 4 and found["sink_dropped"] == 2
    state = SimpleNamespace(state="away", waiting=1, backlog=7, entries=9, stored=5, dropped=0)
    found = {figure.name: figure.value for figure in OfRecords(lambda: state).figures()}
    assert found["records_up"] == 0 and found["records_backlog"] == 7
