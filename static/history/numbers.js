// The numbers a line is run by: the whole time in figures, its stretches as a chart and a table.

import { address } from "../shared/address.js";
import { element, write } from "../shared/elements.js";
import { shape } from "../shared/svg.js";
import * as requests from "./requests.js";
import { milliseconds, number, percent, score } from "./words.js";

const HOUR_MS = 3_600_000;
const CHART = { height: 150, left: 44, foot: 22 };
const LINKS = ["numbers-csv", "parts-csv", "parts-parquet", "numbers-report"];
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

export class NumbersPanel {
  #root;
  #known;
  #recipeName;
  #turn = 0;
  #drawn = "";
  #told = null; // what there is to draw: `{ body, by, free }`

  constructor(root, known, { recipeName }) {
    this.#root = root;
    this.#known = known;
    this.#recipeName = recipeName;
    const form = this.#find("numbers-form");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", ({ target }) => {
      if (target.name === "range") form.elements.by.value = { shift: "hour", "last-shift": "hour", day: "hour", week: "shift", month: "day" }[target.value];
      this.#keep();
      for (const id of LINKS) this.#find(id).removeAttribute("href"); // until it is known what they lead to now
      this.show().catch(() => {}); // the next look says why
    });
    new ResizeObserver(() => this.#draw()).observe(form); // as wide as what is drawn
  }

  /** Take what the address says. */
  read() {
    const asked = new URLSearchParams(location.search);
    const form = this.#find("numbers-form");
    for (const name of ["range", "by", "stream"]) {
      const value = asked.get(name);
      const field = form.elements[name];
      if (name === "stream" && value && ![...field.options].some((option) => option.value === value)) field.append(element("option", { value }, value));
      if (value !== null && [...field.options].some((option) => option.value === value)) field.value = value;
    }
  }

  async show() {
    const turn = ++this.#turn;
    this.#offer();
    const form = this.#find("numbers-form").elements;
    const { time, shift } = await this.#time(form.range.value);
    const stream = form.stream.value ? { stream: form.stream.value } : {};
    const each = form.by.value === "recipe" || form.by.value === "stream";
    const asked = { ...time, ...stream, by: each ? "all" : form.by.value, ...(each && { each: form.by.value }) };
    const [parts, free] = await Promise.all([requests.numbers(asked), requests.numbers({ ...time, ...stream, by: "all", each: "stream", of: "frame" })]);
    const runsFreely = parts.all.total === 0 && free.rows.length > 0;
    const body = runsFreely ? await requests.numbers({ ...asked, of: "frame" }) : parts;
    if (turn !== this.#turn) return;
    this.#find("numbers-csv").href = address(`api/numbers.csv?${new URLSearchParams({ ...asked, of: body.of })}`);
    for (const kind of ["csv", "parquet"]) this.#find(`parts-${kind}`).href = address(`api/history.${kind}?${new URLSearchParams({ ...time, ...stream })}`);
    const at = form.range.value === "last-shift" ? { at: time.since } : {};
    this.#find("numbers-report").href = address(`report?${new URLSearchParams({ ...at, ...stream })}`);
    write(this.#find("numbers-time"), form.range.value === "shift" ? `${span(shift)}, still running` : span(shift ?? body.all));
    this.#told = { body, by: form.by.value, free: runsFreely ? [] : free.rows };
    this.#draw();
  }

  // What was told last, where it or the room for it changed since it was drawn.
  #draw() {
    const width = this.#find("numbers-form").clientWidth;
    if (this.#told === null || width === 0) return;
    const key = JSON.stringify([width, this.#told]);
    if (key === this.#drawn) return;
    this.#drawn = key;
    const { body, by, free } = this.#told;
    this.#figures(body);
    this.#table(body, by);
    this.#chart(body, by, width);
    this.#free(free);
    const empty = this.#find("numbers-empty");
    empty.hidden = body.all.total + body.all.failed > 0;
    write(empty, "Nothing was inspected in this time.");
  }

  /** Why there are none. */
  away(words) {
    this.#drawn = "";
    this.#told = null;
    this.#free([]);
    for (const id of ["numbers-figures", "numbers-chart", "numbers-table"]) this.#find(id).replaceChildren();
    this.#find("numbers-chart").toggleAttribute("hidden", true);
    this.#find("numbers-empty").hidden = false;
    write(this.#find("numbers-empty"), words);
  }

  // As the server takes it, and the whole shift where it is one: `{ time, shift }`. The server knows when shifts begin; days are
  // those of this device's clock.
  async #time(range) {
    const now = Date.now();
    if (range === "shift" || range === "last-shift") {
      const { all } = await requests.numbers({ by: "shift" });
      if (range === "shift") return { time: {}, shift: all };
      const before = new Date(Date.parse(all.since) - 1).toISOString();
      const last = await requests.numbers({ by: "shift", since: before, until: before });
      return { time: { since: new Date(last.all.since).toISOString(), until: new Date(all.since).toISOString() }, shift: last.all };
    }
    const midnight = new Date(now);
    midnight.setHours(0, 0, 0, 0);
    const days = { day: 0, week: 6, month: 29 }[range];
    midnight.setDate(midnight.getDate() - days);
    return { time: { since: midnight.toISOString(), until: new Date(now).toISOString() }, shift: null };
  }

  #figures({ all, of }) {
    const frames = of === "frame";
    const figures = [
      [frames ? "Frames" : "Parts", number(all.total)],
      [frames ? "With an alarm" : "Rejected", number(all.rejected), "", all.rejected > 0 ? "bad" : ""],
      !frames && ["First-pass yield", percent(all.first_pass_yield)],
      all.failed > 0 && ["Failed", number(all.failed), "not inspected", "bad"],
      !frames && ["False rejects", number(all.false_rejects), all.false_reject_rate === null ? "none judged yet" : `${percent(all.false_reject_rate)} of ${number(all.confirmed + all.false_rejects)} judged`],
      !frames && ["Escapes", number(all.escapes), "", all.escapes > 0 ? "bad" : ""],
      ["Score, median", score(all.score_median), all.score_p95 === null ? "" : `95 %: ${score(all.score_p95)}, 99 %: ${score(all.score_p99)}`],
      !frames && all.cycle_worst_ms !== null && ["Worst cycle", milliseconds(all.cycle_worst_ms), `mean ${milliseconds(all.cycle_mean_ms)}`],
      all.overruns > 0 && ["Overruns", number(all.overruns), "triggers refused", "bad"],
    ];
    this.#find("numbers-figures").replaceChildren(
      ...figures.filter(Boolean).map(([name, value, more, kind]) => element("div", { data: { kind: kind || undefined } }, element("dt", {}, name), element("dd", {}, value, more ? element("small", {}, more) : null))),
    );
  }

  #table({ rows, all, of }, by) {
    const frames = of === "frame";
    const columns = [
      ["Total", ({ total }) => number(total)],
      ["Rejected", ({ rejected }) => number(rejected)],
      ["Failed", ({ failed }) => number(failed)],
      !frames && ["Yield", (row) => percent(row.first_pass_yield)],
      !frames && ["Confirmed", ({ confirmed }) => number(confirmed)],
      !frames && ["False rejects", (row) => number(row.false_rejects)],
      !frames && ["Escapes", ({ escapes }) => number(escapes)],
      !frames && ["Overruns", ({ overruns }) => number(overruns)],
      ["5 %", (row) => score(row.score_p05)],
      ["Median", (row) => score(row.score_median)],
      ["95 %", (row) => score(row.score_p95)],
      !frames && ["Worst cycle", (row) => milliseconds(row.cycle_worst_ms)],
    ].filter(Boolean);
    columns[0][0] = frames ? "Frames" : "Parts";
    const first = { hour: "From", shift: "Shift", day: "Day", recipe: "Recipe", stream: "Stream" }[by];
    fill(this.#find("numbers-table"), [first, (row) => this.#name(row, by)], columns, rows, all);
  }

  // Beside parts: streams of which nothing says what a part is, so that none of what was inspected is left out.
  #free(rows) {
    this.#find("numbers-free").hidden = rows.length === 0;
    const columns = [
      ["Frames", ({ total }) => number(total)],
      ["With an alarm", ({ rejected }) => number(rejected)],
      ["Failed", ({ failed }) => number(failed)],
      ["Median", (row) => score(row.score_median)],
      ["95 %", (row) => score(row.score_p95)],
    ];
    fill(this.#find("numbers-free-table"), ["Stream", ({ stream }) => stream], columns, rows);
  }

  #chart({ rows, all, of }, by, room) {
    const chart = this.#find("numbers-chart");
    const { height, left, foot } = CHART;
    chart.replaceChildren();
    const isHidden = by === "recipe" || by === "stream" || rows.length === 0;
    chart.toggleAttribute("hidden", isHidden);
    if (isHidden) return;
    const width = Math.max(room, 240); // drawn in the screen's pixels, so that words are as large as elsewhere
    chart.setAttribute("viewBox", `0 0 ${width} ${height + foot + 10}`);
    const [since, until] = [Date.parse(all.since), Date.parse(all.until)];
    const most = Math.max(...rows.map(({ total, rejected, failed }) => Math.max(total, rejected + failed))); // frames that failed are in no total
    const x = (time) => left + ((width - left) * (time - since)) / (until - since);
    const text = (words, at) => {
      const made = shape("text", at);
      made.textContent = words;
      chart.append(made);
    };
    chart.append(shape("line", { x1: left, x2: width, y1: height + 8, y2: height + 8, class: "axis" }), shape("line", { x1: left, x2: width, y1: 8, y2: 8, class: "grid" }));
    text(number(most), { x: left - 6, y: 12, "text-anchor": "end" });
    text("0", { x: left - 6, y: height + 12, "text-anchor": "end" });
    let labelled = -Infinity;
    for (const row of rows) {
      const [from, to] = [x(Date.parse(row.since)), x(Date.parse(row.until))];
      const bar = (count, kind) => {
        const high = count > 0 ? Math.max((height * count) / most, 2) : 0;
        chart.append(shape("rect", { x: from + (to - from) * 0.1, width: Math.max((to - from) * 0.8, 1), y: height + 8 - high, height: high, class: kind }));
      };
      bar(row.total, "parts");
      bar(row.rejected + row.failed, "rejects");
      if (from - labelled > 62) {
        text(this.#name(row, by, true), { x: (from + to) / 2, y: height + foot, "text-anchor": "middle" });
        labelled = from;
      }
    }
    chart.setAttribute("aria-label", `${of === "frame" ? "Frames" : "Parts"} by ${by}, the rejected ones at the foot of each column; the table below has the numbers.`);
  }

  #name(row, by, short = false) {
    const from = new Date(row.since);
    const date = serversDate(row.since);
    if (by === "recipe") return row.recipe ? `${this.#recipeName(row.recipe)}, version ${row.recipe_version}` : "without a recipe";
    if (by === "stream") return row.stream ?? "";
    if (by === "day") return day.format(date);
    if (by === "shift") return short ? `${date.getDate()}. ${row.shift}` : `${day.format(date)}, ${row.shift}`;
    const isLong = Date.parse(row.since) < Date.now() - 24 * HOUR_MS;
    return isLong && !short ? `${day.format(from)}, ${clock.format(from)}` : clock.format(from);
  }

  #offer() {
    const select = this.#find("numbers-stream");
    const names = ["", ...this.#known.names];
    if (select.value && !names.includes(select.value)) names.push(select.value);
    if ([...select.options].map(({ value }) => value).join() === names.join()) return;
    const { value } = select;
    select.replaceChildren(...names.map((name) => element("option", { value: name }, name || "all streams")));
    select.value = value;
  }

  #keep() {
    const asked = new URLSearchParams({ show: "numbers" });
    const form = this.#find("numbers-form").elements;
    for (const name of ["range", "by", "stream"]) if (form[name].value) asked.set(name, form[name].value);
    history.replaceState(history.state, "", `${location.pathname}?${asked}`);
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

/** A table with a row for each of `rows`: `[name, value(row)]` of its first column and of the others; the last row is of `all`, if there is one. */
function fill(table, [first, nameOf], columns, rows, all = null) {
  const line = (name, row) => element("tr", {}, element("th", { scope: "row" }, name), ...columns.map(([, value]) => element("td", {}, value(row))));
  table.replaceChildren(
    element("thead", {}, element("tr", {}, ...[first, ...columns.map(([name]) => name)].map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows.map((row) => line(nameOf(row), row))),
    element("tfoot", {}, all && rows.length > 1 ? line("All", all) : null),
  );
  table.hidden = rows.length === 0;
}

/** Noon of the day that it is for the server at an ISO 8601 time with its offset: days and shifts begin by its clock, which may be ahead of this device's. */
function serversDate(iso) {
  return new Date(`${iso.slice(0, 10)}T12:00`);
}

function span({ since, until }) {
  const [from, to] = [new Date(since), new Date(until)];
  const sameDay = from.toDateString() === to.toDateString();
  return `${day.format(from)}, ${clock.format(from)} – ${sameDay ? "" : `${day.format(to)}, `}${clock.format(to)}`;
}
