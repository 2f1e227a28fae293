// Where there is no history: the alarms that the server keeps in memory.

import { address } from "../shared/address.js";
import { element, keep, write } from "../shared/elements.js";
import { timeElement } from "../shared/moments.js";
import * as requests from "../recipes/requests.js";

const MOST_SHOWN = 60;

export class AlarmsInMemory {
  #root;
  #station;

  constructor(root, station) {
    this.#root = root;
    this.#station = station;
  }

  /** `why` is why there is no history, a sentence. */
  async show(why) {
    write(this.#find("history-kept"), `${why} The latest 300 alarms of each stream are kept in memory, until the server is started again.`);
    if (this.#station.streamsAt === 0) await this.#station.lookAtStreams();
    const names = this.#station.streams.map(({ name }) => name);
    const kept = (await Promise.all(names.map((name) => requests.frames(name, "alarm").catch(() => [])))).flat();
    kept.sort((a, b) => b.at.localeCompare(a.at));
    keep(this.#find("history-alarms"), kept.slice(0, MOST_SHOWN), ({ id }) => id, alarm, (made, { disposition }) => {
      made.dataset.disposition = disposition ?? "";
      write(made.querySelector(".alarm-said"), disposition ? `was ${disposition}` : "");
    });
    this.#find("history-no-alarms").hidden = kept.length > 0;
    write(this.#find("history-alarms-count"), kept.length > MOST_SHOWN ? `the latest ${MOST_SHOWN} of ${kept.length}` : kept.length ? String(kept.length) : "");
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

function alarm({ stream, at, picture, heatmap, part }) {
  const image = element("img", { src: address(picture), alt: `Alarm on ${stream}`, loading: "lazy" });
  const where = element("img", { src: address(heatmap), alt: "", loading: "lazy", className: "alarm-heat" });
  const gone = () => image.replaceWith(element("p", { className: "picture-gone" }, "not kept any more"));
  image.addEventListener("error", gone, { once: true });
  where.addEventListener("error", () => where.remove(), { once: true });
  return element(
    "li",
    { className: "alarm", data: { testid: "alarm-kept" } },
    element("div", { className: "alarm-picture" }, image, where),
    element("p", {}, timeElement(at)),
    element("p", { className: "alarm-where" }, stream, part ? ` · part ${part}` : ""),
    element("p", { className: "alarm-said" }),
  );
}
