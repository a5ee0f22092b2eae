"use strict";
(() => {
  document.documentElement.classList.add("scripted");
  const table = document.querySelector("table.sessions");
  const body = table.tBodies[0];
  const text = (row, column) => row.cells[column].textContent.trim();
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    const plain = a !== "" && b !== "" && !Number.isNaN(x) && !Number.isNaN(y);
    return plain ? x - y : a.localeCompare(b, "en", { numeric: true });
  };
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [text(a, column), text(b, column)];
        if ((x === "n/a") !== (y === "n/a")) return x === "n/a" ? 1 : -1;
        return down ? compare(y, x) : compare(x, y);
      });
      body.append(...rows);
    });
  });
  const filter = document.getElementById("filter");
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    let n = 0;
    for (const row of body.rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      n += !row.hidden;
    }
    document.getElementById("filtered").textContent = wanted ? `${n} of ${body.rows.length}` : "";
  });
})();
