// What lies over the picture while there is nothing to see: teaching, help with the camera, a notice about the connection.

import { sentence } from "../shared/pulled_camera.js";
import { write } from "../shared/write.js";

const $ = (id) => document.getElementById(id);

/**
 * Show the first of these that is not null: `teaching` (an answer of /health while there is no model yet), `problem` (`{ title, steps }` of the camera),
 * `notice` (`{ title, text, action }`, `action` being the words on its button, if it has one).
 */
export function cover({ teaching, problem, notice }) {
  const shown = teaching !== null ? "teaching" : problem ? "camera-help" : notice ? "notice" : null;
  for (const id of ["teaching", "camera-help", "notice"]) $(id).hidden = id !== shown;
  if (shown === "teaching") fillTeaching(teaching);
  if (shown === "camera-help") fillHelp(problem);
  if (shown === "notice") fillNotice(notice);
}

// It is the simulated part that is learned, or a model that is loaded: nothing that a camera sees.
function fillTeaching({ simulated, progress }) {
  $("teaching-kicker").hidden = $("teaching-text").hidden = !simulated;
  write("teaching-title", simulated ? "Learning the simulated part" : "Loading the model");
  if (progress == null) $("teaching-progress").removeAttribute("value");
  else $("teaching-progress").value = progress;
}

function fillHelp({ title, steps }) {
  const items = $("camera-help-steps");
  if ($("camera-help-title").textContent === title && items.childElementCount === steps.length) return;
  write("camera-help-title", title);
  items.replaceChildren(
    ...steps.map((step) => {
      const item = document.createElement("li");
      item.textContent = step;
      return item;
    }),
  );
}

function fillNotice({ title, text, action }) {
  write("notice-title", title);
  write("notice-text", text);
  write("notice-action", action ?? "");
  $("notice-action").hidden = !action;
}

/** The notice for where things stand, or null when the picture should be seen. */
export function noticeFor({ health, link, source, maySend, ownName, cameraOff, streamState, hasResult, others }) {
  if (health?.status === "error") return { title: "Not ready to inspect", text: sentence(health.reason) };
  if (link?.phase === "replaced") {
    return { title: link.words, text: `Frames of “${ownName}” now come from there.`, action: "Use this device instead" };
  }
  if (link?.forbidden) return { title: "Not for you", text: sentence(link.words) };
  if (link?.access === false) return { title: "Logged out", text: sentence(link.words) };
  if (source === null && !maySend && health?.status === "ok") return { title: "No stream runs", text: "The picture appears here as soon as a camera or a program sends one." };
  if (link?.problem) return { title: "No live connection", text: link.problem };
  if (link?.phase === "refused") return { title: "The server closed the connection", text: link.words, action: "Try again" };
  if (source === "camera" && cameraOff) {
    return { title: "Inspect with this device", text: `Point the camera at a part and press Start camera. Pictures go to this server only.${others > 0 ? " Or choose a stream that runs." : ""}` };
  }
  if (link?.phase === "open" && streamState === "teaching") {
    return { title: "A new part is being taught", text: "Until that is done, what this camera sees is not inspected." };
  }
  if (source !== "camera" && link?.phase === "open" && streamState === "silent" && !hasResult) {
    return { title: "The camera sends no picture", text: "It is connected, but silent. Check the camera, or the program that sends." };
  }
  if (source !== "camera" && link?.phase === "open" && streamState === "waiting" && !hasResult) {
    return { title: "No camera is sending", text: "The picture appears here as soon as one does." };
  }
  return null;
}
