"use strict";
/* Makes each head of a table a button that sorts its rows: numbers as numbers, "n/a" last both ways. */
globalThis.mbsegSortable = (heads, body) => {
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    const plain = a !== "" && b !== "" && !Number.isNaN(x) && !Number.isNaN(y);
    return plain ? x - y : a.localeCompare(b, "en", { numeric: true });
  };
  heads.forEach((head, column) => {
    const text = (row) => row.cells[column].textContent.trim();
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...[...body.rows].sort((a, b) => {
        const [x, y] = [text(a), text(b)];
        if ((x === "n/a") !== (y === "n/a")) return x === "n/a" ? 1 : -1;
        return down ? compare(y, x) : compare(x, y);
      }));
    });
  });
};
