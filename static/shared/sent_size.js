const LONG_SIDE = 640;

/** `{ width, height }` a frame is sent at: the long side at most 640, never enlarged. */
export function sentSize(width, height) {
  const scale = Math.min(1, LONG_SIDE / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}
