"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const help = document.getElementById("keys");
  document.documentElement.classList.add("scripted");

  const shown = (card) => card.checkVisibility();
  function step(way) {
    const cards = all("article.card").filter(shown);
    if (!cards.length) return;
    const here = cards.indexOf(document.activeElement.closest("article.card"));
    const next = cards[here < 0 ? (way > 0 ? 0 : cards.length - 1) : (here + way + cards.length) % cards.length];
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }
  function flip(selector) {
    const boxes = all(selector);
    const on = !boxes.some((box) => box.checked);
    for (const box of boxes) box.checked = on;
    return on;
  }
  function fold() {
    const lists = all("details.candidates");
    const open = !lists.some((list) => list.open);
    for (const list of lists) list.open = open;
    if (open && lists.length) lists[0].scrollIntoView({ block: "start" });
  }
  function flicker() {
    if (flip(".auto")) all(".flicker")[0]?.scrollIntoView({ block: "nearest" });
  }
  const keys = {
    j: () => step(1), p: () => step(-1), k: () => step(-1),
    c: () => flip(".gallery .hide"), o: fold, f: flicker,
    "?": () => (help.open ? help.close() : help.showModal()),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
    if (help.open && event.key !== "?") return;
    event.preventDefault();
    keys[event.key]();
  });
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {  // not allowed here: the text is marked, to be copied by hand
      getSelection().selectAllChildren(code);
      button.textContent = "Marked";
    }
  });
  document.getElementById("keys-button").addEventListener("click", () => help.showModal());
  document.getElementById("keys-close").addEventListener("click", () => help.close());

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open], .more)");
    for (const part of folded) part.open = true;
  });
  addEventListener("afterprint", () => {
    for (const part of folded) part.open = false;
  });
})();
