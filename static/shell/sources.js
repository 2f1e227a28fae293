// What can be watched: this device's camera, or a running stream. A source is `camera` or `stream:NAME`.

export const CAMERA = "camera";

/** The name of the stream in a source such as `stream:line-1`, or null for the camera. */
export function streamIn(source) {
  return source?.startsWith("stream:") ? source.slice("stream:".length) : null;
}

/** What to show when nobody has chosen: a real stream, else the simulated line, else this device's camera. */
export function defaultSource(streams, simulatedStream) {
  const real = streams.find(({ simulated }) => !simulated);
  const name = real?.name ?? streams[0]?.name ?? simulatedStream;
  return name ? `stream:${name}` : CAMERA;
}
