// The view Live: what is watched, its verdict, and what can be done about it.

import { Alarms } from "./alarms.js";
import { CalibrationCard } from "./calibration/card.js";
import { CameraControls } from "./camera_controls.js";
import { ScoreChart } from "./chart.js";
import { Counters } from "./counters.js";
import { cover, noticeFor } from "./covers.js";
import { ModelCard } from "./model.js";
import { PartBefore } from "../shared/part_before.js";
import { Parts } from "./parts.js";
import { RecipeSelect } from "./recipe_select.js";
import { SourceSelect } from "./source_select.js";
import { CAMERA } from "../shell/sources.js";
import { Stage } from "../shared/stage.js";
import { may } from "../shared/me.js";
import { STALE_AFTER_MS, VerdictPanel, ago, decide, hasPartVerdicts, waitsForPart } from "../shared/verdict.js";
import { ThresholdGrip } from "./threshold_grip.js";
import { Tiles } from "./tiles.js";
import { cameraNotice, sentence } from "../shared/pulled_camera.js";
import { write } from "../shared/write.js";

const TICK_MS = 150;
const DESCRIBE_EVERY_MS = 10_000;

let live = null; // made once

/** `station` is static/shell/station.js; it is listened to from the first time on, also while another view is shown. */
export function enter({ station, root }) {
  live ??= new Live(root, station);
  live.shown(true);
}

export function leave() {
  live?.shown(false);
}

class Live {
  #root;
  #station;
  #stage;
  #verdict;
  #counters;
  #chart;
  #model;
  #cameraControls;
  #select;
  #calibration;
  #grip;
  #parts;
  #partBefore = new PartBefore();
  #recipeSelect;
  #alarms;
  #tiles;
  #recipeSeen = null; // of the last result
  #isShown = false;
  #showsAll = false;

  constructor(root, station) {
    this.#root = root;
    this.#station = station;
    this.#stage = new Stage(this.#find("stage"));
    this.#verdict = new VerdictPanel(this.#find("verdict"), this.#find("spoken"));
    this.#counters = new Counters(root);
    this.#chart = new ScoreChart(this.#find("chart"));
    this.#model = new ModelCard(root);
    this.#cameraControls = new CameraControls(station);
    this.#select = new SourceSelect(this.#find("source"), (source) => station.choose(source));
    this.#calibration = new CalibrationCard(root, { shown: () => ({ stream: station.streamName, recipe: station.recipe }), onchanged: () => station.lookAtHealth() });
    this.#grip = new ThresholdGrip(root, this.#chart, station);
    this.#parts = new Parts(root, station);
    this.#recipeSelect = new RecipeSelect(root, station);
    this.#alarms = new Alarms(root, station);
    this.#tiles = new Tiles(this.#find("tiles"), station, (name) => this.#open(name));
    this.#listen();
    this.#find("show-all").addEventListener("click", () => this.#showAll(!this.#showsAll));
    this.#find("opacity").addEventListener("input", () => this.#showOpacity());
    this.#find("notice-action").addEventListener("click", () => station.retry());
    this.#showOpacity();
    this.#showSource();
    setInterval(() => this.#tick(), TICK_MS);
    setInterval(() => this.#find("chart").setAttribute("aria-label", this.#chart.describe()), DESCRIBE_EVERY_MS);
  }

  shown(isShown) {
    this.#isShown = isShown;
    this.#tiles.shown(isShown && this.#showsAll);
    this.#alarms.shown(isShown && !this.#showsAll);
    if (isShown) this.#render();
  }

  // All streams as tiles, or the one that is watched.
  #showAll(all) {
    this.#showsAll = all;
    this.#find("show-all").setAttribute("aria-pressed", String(all));
    this.#find("tiles").hidden = !all;
    this.#find("one").hidden = all;
    this.shown(true);
  }

  #open(name) {
    this.#showAll(false);
    const own = name === this.#station.ownName; // which this page itself sends
    if (own && !this.#station.watchesCamera) this.#station.choose(CAMERA);
    else if (!own && name !== this.#station.streamName) this.#station.choose(`stream:${name}`);
    this.#find("verdict").focus();
  }

  #listen() {
    const station = this.#station;
    station.on("result", (result, at) => this.#takeResult(result, at));
    station.on("part", (part) => {
      if (hasPartVerdicts(station.stream)) this.#chart.addPart(part, performance.now());
      this.#alarms.notePart(part);
      this.#parts.showLast();
      this.#showVerdict();
    });
    station.on("interrupted", () => this.#calibration.interrupt());
    station.on("left", () => this.#clear());
    station.on("source", () => this.#showSource());
    station.on("camera", () => this.#showCamera());
    station.on("state", () => this.#render());
    station.on("repeated", (result) => this.#isShown && this.#stage.draw(result));
    station.on("change", (change) => {
      this.#chart.noteChange(change, performance.now());
      if (change.threshold !== undefined) this.#calibration.showThreshold(change.threshold, change.threshold_source); // before the first result by it
    });
    station.on("recipes", () => this.#showRecipe());
    station.on("streams", () => {
      this.#offerSources();
      this.#showAlert();
      this.#showStored();
      this.#showRecipe();
      this.#parts.show();
      if (station.link?.phase === "open" && hasPartVerdicts(station.stream)) this.#partBefore.look(station.streamName);
    });
  }

  #takeResult(result, at) {
    this.#noteRecipe(result, at);
    this.#counters.add(result, at);
    this.#chart.add(result, at, { isMarked: !hasPartVerdicts(this.#station.stream) });
    this.#alarms.noteResult(result);
    if (this.#isShown) this.#stage.draw(result);
    this.#calibration.noteResult(result, at);
    this.#calibration.showThreshold(result.threshold, result.threshold_source);
    this.#showVerdict();
    this.#showCaption();
  }

  // This device's own camera hears of no change, only results of another recipe.
  #noteRecipe({ recipe, recipe_version: version }, at) {
    const before = this.#recipeSeen;
    this.#recipeSeen = recipe ? { recipe, version } : null;
    if (!before || !recipe || (before.recipe === recipe && before.version === version)) return;
    const name = this.#station.recipes?.find(({ id }) => id === recipe)?.name ?? "Another recipe";
    this.#chart.noteChange({ what: "recipe", recipe_name: name, recipe_version: version }, at);
  }

  #clear() {
    this.#recipeSeen = null;
    this.#partBefore.forget();
    this.#counters.clear();
    this.#chart.clear();
    this.#grip.clear();
    this.#parts.clear();
    this.#calibration.follow();
    this.#alarms.clear();
    this.#stage.clear("none");
  }

  #showRecipe() {
    const { recipe } = this.#station;
    if (recipe) this.#chart.useRegions(recipe.regions);
    this.#recipeSelect.show();
    this.#stage.showInspected({ region: recipe?.model?.region, regions: recipe?.regions });
  }

  #showSource() {
    this.#calibration.follow();
    const { source, watchesCamera } = this.#station;
    if (source === null) return;
    this.#stage.clear(watchesCamera ? "camera" : "stream");
    if (watchesCamera) this.#showCamera();
    this.#offerSources();
    this.#showRecipe();
    this.#parts.show();
    this.#render();
  }

  #showCamera() {
    const { camera } = this.#station;
    if (camera.state === "live") this.#stage.showCamera(camera.stream);
    else if (camera.state === "off" || camera.state === "failed") this.#stage.clear("camera");
  }

  #render() {
    const { health, link, last, stream, watchesCamera } = this.#station;
    if (link?.phase !== "open") this.#partBefore.forget();
    this.#showVerdict();
    this.#showAlert();
    this.#showCover();
    this.#cameraControls.show();
    this.#showCaption();
    this.#calibration.setReady(health?.status === "ok" && link?.phase === "open");
    const known = stream ?? health;
    if (known && !last) this.#calibration.showThreshold(known.threshold, known.threshold_source); // a result says what holds on its stream
    this.#showStored();
    if (health) this.#model.show(health, this.#knowsOnlySimulated() && watchesCamera);
  }

  #tick() {
    this.#showVerdict();
    if (document.hidden || !this.#isShown || this.#showsAll) return;
    const now = performance.now();
    this.#showCover();
    this.#counters.show(now);
    this.#chart.draw(now);
    this.#grip.show();
  }

  #knowsOnlySimulated() {
    const { health, recipe, stream } = this.#station;
    return Boolean(health?.simulated) && (recipe ? recipe.is_given : !stream?.recipe); // not yet looked up, but it has one: not said
  }

  /** Whether the server's camera behind the watched stream waits for its trigger. */
  get #waits() {
    return this.#station.stream?.camera?.state === "waiting";
  }

  /** What is wrong with the camera behind the watched stream, where the server pulls it; null while results come. */
  #pulledCameraNotice() {
    const { source, link, last, stream, streamsAt } = this.#station;
    if (!source || link?.phase !== "open" || (last && performance.now() - last.at < STALE_AFTER_MS)) return null;
    return cameraNotice(stream?.camera, performance.now() - streamsAt);
  }

  #showCaption() {
    const { watchesSimulated: simulated, source, watchesCamera, ownName, streamName, last } = this.#station;
    const part = last?.result.simulated;
    this.#find("simulated-label").hidden = !simulated;
    write("caption-source", simulated || !source ? "" : watchesCamera ? `This device’s camera, sent as ${ownName}` : streamName);
    write("caption-part", part ? `Part ${part.part}` : "");
    write("caption-defect", part ? (part.defect ?? "good part") : "");
  }

  #showVerdict() {
    const { health, link, last, lastPart, stream, camera, watchesCamera, streamState, streamName, frameError } = this.#station;
    const age = last ? performance.now() - last.at : 0;
    const state = decide({
      health,
      camera: watchesCamera ? camera : null,
      link,
      streamState: watchesCamera ? "live" : streamState,
      streamName,
      trouble: this.#pulledCameraNotice()?.title ?? "",
      waits: this.#waits,
      result: last?.result ?? null,
      age,
      ...(hasPartVerdicts(stream) ? { part: lastPart, partWaits: waitsForPart(stream, this.#partBefore.part) } : {}),
    });
    this.#verdict.show(frameError && state.verdict === "WAITING" ? { ...state, detail: frameError } : state);
    const verdictAge = this.#station.verdictAge;
    const isOld = verdictAge !== null && verdictAge >= STALE_AFTER_MS;
    // Of a part, the words beside its verdict say when it was: frames come between parts, too.
    write("verdict-age", verdictAge === null || hasPartVerdicts(stream) ? "" : isOld ? `last verdict ${ago(verdictAge)}` : "now");
    this.#stage.setStale(Boolean(last ?? this.#station.repeated) && (!last || age > STALE_AFTER_MS || state.verdict === "SILENT"));
  }

  #showCover() {
    const { health, link, last, camera, source, watchesCamera, streamState, ownName } = this.#station;
    cover({
      teaching: health?.status === "teaching" ? health : null,
      problem: watchesCamera ? camera.problem : null,
      notice:
        (last && this.#waits ? null : this.#pulledCameraNotice()) ?? // between two parts, the last one's picture is seen
        noticeFor({ health, link, source, maySend: may("operator"), ownName, cameraOff: camera.state === "off", streamState, hasResult: Boolean(last), others: this.#station.streams.length }),
    });
  }

  /** What the operator should know while the picture is to be seen. */
  #showAlert() {
    const { health, link, source, stream, watchesCamera } = this.#station;
    const simulated = this.#knowsOnlySimulated() && watchesCamera && link?.phase === "open" ? ["what inspects here knows the simulated part only: teach your own part first"] : [];
    const hung = health?.status === "hung" ? [health.reason] : [];
    const shape = source && link?.phase === "open" ? (stream?.warnings ?? []) : [];
    write("alert", [...simulated, ...hung, ...shape].map(sentence).join("\n"));
  }

  #showStored() {
    const { health, stream } = this.#station;
    if (health) this.#calibration.showStored(stream ? stream.calibration : health.calibration, stream, health.calibration !== null);
  }

  #offerSources() {
    const { streams, health, source, camera, ownName } = this.#station;
    this.#find("show-all").hidden = streams.length === 0;
    if (source || !may("operator")) this.#select.offer(streams, health?.simulated_stream ?? null, source, camera.state === "off" ? null : ownName);
  }

  #showOpacity() {
    this.#stage.setOpacity(this.#find("opacity").value / 100);
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}
