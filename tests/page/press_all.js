// Use every control that is seen and can be used, once each, those of dialogs too; resolves to what was pressed and the links that are offered.
async () => {
  const CONTROLS = "button, a[href], select, summary, input, textarea, [tabindex='0']";
  const MOST = 400;
  const origin = document.body.dataset.view;
  const used = new Set();
  const links = new Set();
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const keyOf = (one) => [one.tagName, one.id, one.dataset.testid, one.name, one.value, one.getAttribute("aria-label"), one.textContent.trim().slice(0, 60), one.getAttribute("href")].join("|");
  const isOffered = (one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled && one.closest("[inert]") === null && !/log-?out/i.test(one.dataset.testid ?? "") && one.textContent.trim() !== "Log out";
  const tell = (one, ...events) => events.forEach((event) => one.dispatchEvent(new Event(event, { bubbles: true })));

  function use(one) {
    if (one.tagName === "A") return links.add(one.href);
    if (one.form) one.form.noValidate = true;
    if (one.tagName === "SELECT") {
      one.selectedIndex = (one.selectedIndex + 1) % Math.max(1, one.options.length);
      return tell(one, "input", "change");
    }
    if (one.tagName === "TEXTAREA" || (one.tagName === "INPUT" && !["checkbox", "radio", "file", "submit", "button"].includes(one.type))) {
      one.value = ["number", "range"].includes(one.type) ? (one.min || 1) : "abc";
      return tell(one, "input", "change");
    }
    if (one.type !== "file") one.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
  }

  for (let turn = 0; turn < MOST; turn += 1) {
    const dialog = [...document.querySelectorAll("dialog[open]")].at(-1);
    const next = [...(dialog ?? document).querySelectorAll(CONTROLS)].find((one) => isOffered(one) && !used.has(keyOf(one)));
    if (next) {
      used.add(keyOf(next));
      use(next);
      await wait(15);
    } else if (dialog) dialog.close();
    else break;
    if (origin && document.body.dataset.view !== origin) {
      document.querySelector(`.nav a[data-view=${origin}]`).click();
      await wait(50);
    }
  }
  return { used: [...used], links: [...links] };
}
