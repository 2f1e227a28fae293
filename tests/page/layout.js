// What stands wrongly on a page: see test_page_layout.py.

var overlapping = () => {
  // Controls and words that are seen, and do not lie in one another, must not lie on one another.
  const shown = [...document.querySelectorAll("button, a[href], select, input, dd, dt, h1, h2, .verdict, .stage, .toolbar")]
    .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest(".spoken, .skip, .tiles, dialog") && !e.matches(".spoken"));
  const clipped = (e) => {
    let { left, top, right, bottom } = e.getBoundingClientRect();
    for (let up = e.parentElement; up; up = up.parentElement) {
      if (getComputedStyle(up).overflowX === "visible" && getComputedStyle(up).overflowY === "visible") continue;
      const box = up.getBoundingClientRect();
      [left, top, right, bottom] = [Math.max(left, box.left), Math.max(top, box.top), Math.min(right, box.right), Math.min(bottom, box.bottom)];
    }
    return { left, top, right, bottom };
  };
  const over = (e) => e.closest(".nav, .shown-picture-do") || getComputedStyle(e.closest(".verdict, .teach-actions, .told") ?? e).position === "sticky";
  const boxes = shown.map((e) => [e, clipped(e)]).filter(([e, b]) => b.right - b.left > 2 && b.bottom - b.top > 2 && !over(e));
  const found = [];
  boxes.forEach(([a, one], i) => boxes.slice(i + 1).forEach(([b, other]) => {
    if (a.contains(b) || b.contains(a)) return;
    const width = Math.min(one.right, other.right) - Math.max(one.left, other.left);
    const height = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
    if (width > 2 && height > 2) found.push(`${a.id || a.className || a.textContent} on ${b.id || b.className || b.textContent}`);
  }));
  return found;
};

var cutOff = () => [...document.querySelectorAll("button, .verdict-word, .tile-word, dt, dd, h1, h2, .nav span")]
  .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest(".spoken") && !e.matches(".spoken") && e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0)
  .map((e) => e.id || e.textContent);

var boxes = () => Object.fromEntries([...document.querySelectorAll(".top, .toolbar, .verdict, .stage, .caption, .parts, .alarms, #chart, .counters")]
  .map((e) => { const { x, y, width, height } = e.getBoundingClientRect(); return [e.id || e.className, [x, y, width, height].map(Math.round)]; }));

var outside = () => [...document.querySelectorAll("h1, .recipe, dt, dd, .word, .icon, .detail, .age")].filter((e) => {
      const box = e.getBoundingClientRect();
      return box.width > 0 && (box.left < 0 || box.top < 0 || box.right > innerWidth || box.bottom > innerHeight || e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0);
    }).map((e) => e.id || e.className || e.textContent);

