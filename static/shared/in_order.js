// Answers to one question that is asked again and again, the way they were asked.

/** `ask` as a function whose answer is undefined where one that was asked for later is there already: it says what was before. */
export function inOrder(ask) {
  let asked = 0;
  let heard = 0;
  return async () => {
    const turn = ++asked;
    const answer = await ask();
    if (turn < heard) return undefined;
    heard = turn;
    return answer;
  };
}
