// Module worker of frames.js: keeps the newest camera frame and encodes it to JPEG on request.

import { sentSize } from "./sent_size.js";

let newest = null;
let request = null;
const canvas = new OffscreenCanvas(1, 1);
const context = canvas.getContext("2d", { alpha: false });

async function encode({ id, quality }, picture) {
  try {
    const size = sentSize(picture.displayWidth ?? picture.width, picture.displayHeight ?? picture.height);
    if (canvas.width !== size.width || canvas.height !== size.height) Object.assign(canvas, size);
    context.drawImage(picture, 0, 0, size.width, size.height);
    picture.close();
    const jpeg = await canvas.convertToBlob({ type: "image/jpeg", quality });
    postMessage({ id, jpeg, ...size });
  } catch (error) {
    postMessage({ id, error: String(error) });
  }
}

async function readTrack(readable) {
  const reader = readable.getReader();
  for (;;) {
    const { value: frame, done } = await reader.read();
    if (done) return;
    newest?.close();
    newest = frame;
    answerRequest();
  }
}

function answerRequest() {
  if (!newest || !request) return;
  const [wanted, frame] = [request, newest];
  request = newest = null;
  encode(wanted, frame);
}

onmessage = ({ data }) => {
  if (data.readable) {
    readTrack(data.readable);
  } else if (data.bitmap) {
    encode(data, data.bitmap);
  } else {
    request = data;
    answerRequest();
  }
};
