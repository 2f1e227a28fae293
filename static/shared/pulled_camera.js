// A camera that the server pulls itself, in words. `camera` is the CameraInfo of docs/protocol.md.

import { capital } from "./sentence.js";

const WORDS = { connecting: "connecting", waiting: "waits for its trigger", stalled: "no picture", retrying: "not reachable", stopped: "stopped" };

/** A word for the list of sources, or "" while all is well. */
export function cameraWord(camera) {
  return WORDS[camera?.state] ?? "";
}

/** `{ title, text }` to show instead of its picture, or null while all is well; `age` is how old the answer is, milliseconds. */
export function cameraNotice(camera, age) {
  switch (camera?.state) {
    case "connecting":
      return { title: "Connecting to the camera", text: `${sentence(camera.last_error)}${camera.source}` };
    case "waiting":
      return { title: "The camera waits for its trigger", text: "It answers. The next picture comes with the next part." };
    case "stalled":
      return { title: "The camera sends no picture", text: `${sentence(camera.last_error)}The server connects to it again by itself.` };
    case "retrying": {
      const seconds = Math.max(1, Math.ceil((camera.retry_in_s ?? 0) - age / 1000));
      return { title: "The camera cannot be reached", text: `${sentence(camera.last_error)}Next try in ${seconds} s. Check its power, cable and address.` };
    }
    case "stopped":
      return { title: "The camera is stopped", text: "Start the server again to use it." };
    default:
      return null;
  }
}

/** The server's words as a sentence, with the space after it; "" of none. */
export function sentence(words) {
  return words ? `${capital(words).replace(/\.$/, "")}. ` : "";
}
