"use strict";
(() => {
  document.documentElement.classList.add("scripted");
  const table = document.querySelector("table.sessions");
  const body = table.tBodies[0];
  mbsegSortable([...table.tHead.rows[0].cells], body);
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
