/** `99.2 %` of a share from 0 to 1, `–` of null: never 100.0 % where one part was rejected. */
export function yieldWords(share) {
  if (share == null) return "–";
  return `${Math.min(share === 1 ? 100 : 99.9, share * 100).toFixed(1)} %`;
}
