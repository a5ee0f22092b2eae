(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const panels = all(".review").map((root) => ({ root, section: root.closest("section") || document }));
  const now = () => `${new Date().toISOString().slice(0, 19)}Z`;
  const plain = (text) => text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ").trim();
  const WORDS = ["accept", "reject", "unsure"];
  const COLUMNS = ["participant_id", "session_id", "result", "item", "kind", "decision", "note", "i", "j", "k",
    "x_mm", "y_mm", "z_mm", "region", "diameter_mm", "lesion_probability", "reader", "time"];
  let stored = true;
  const read = (key) => { try { return localStorage.getItem(key); } catch { stored = false; return null; } };
  const write = (key, value) => { try { localStorage.setItem(key, value); } catch { stored = false; } };

  const panelOf = (element) => panels.find((panel) => panel.section.contains(element));

  function setUp(panel) {
    const { participant, session, result } = panel.root.dataset;
    panel.key = `mbseg-review ${participant} ${session} ${result}`;
    panel.state = load(panel.key);
    panel.body = panel.root.querySelector("tbody");
    panel.cards = new Map(all("article[data-item]", panel.section).map((card) => [card.dataset.item, card]));
    for (const card of panel.cards.values()) {
      for (const button of all("button[data-decision]", card)) {
        button.addEventListener("click", () => decide(panel, card.dataset.item, button.dataset.decision));
      }
      card.querySelector(".note").addEventListener("change", (event) => note(panel, card.dataset.item, event.target.value));
      card.querySelector(".note").addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === "Escape") card.focus();
      });
    }
    const reader = panel.root.querySelector(".reader");
    reader.value = read("mbseg-reader") || "";
    reader.addEventListener("change", () => {
      write("mbseg-reader", plain(reader.value));
      for (const other of all(".reader")) other.value = reader.value;
    });
    panel.root.querySelector(".export").addEventListener("click", () => save(panel));
    panel.root.querySelector(".load").addEventListener("change", (event) => bring(panel, event.target));
    panel.root.querySelector(".clear").addEventListener("click", () => {
      if (!confirm("Forget every decision on this session?")) return;
      panel.state = { items: {}, added: [] };
      keep(panel);
    });
    mbsegSortable([...panel.root.querySelector("thead tr").cells], panel.body);
    for (const control of all("[data-filter]", panel.root)) control.addEventListener("input", () => filter(panel));
    show(panel);
  }
  function load(key) {
    try {
      const state = JSON.parse(read(key));
      if (state && typeof state.items === "object" && Array.isArray(state.added)) return state;
    } catch { /* nothing that can be read: begin anew */ }
    return { items: {}, added: [] };
  }
  function keep(panel) {
    write(panel.key, JSON.stringify(panel.state));
    show(panel);
    document.dispatchEvent(new CustomEvent("mbseg-review", { detail: panel }));
  }
  function entry(panel, item) {
    const added = panel.state.added.find((spot) => spot.item === item);
    return added || (panel.state.items[item] ??= { decision: "", note: "", time: "" });
  }
  function decide(panel, item, decision) {
    const one = entry(panel, item);
    one.decision = one.decision === decision ? "" : decision;
    one.time = now();
    keep(panel);
  }
  function note(panel, item, text) {
    const one = entry(panel, item);
    one.note = plain(text);
    one.time = now();
    keep(panel);
  }
  function add(panel, voxel, position) {
    const numbers = panel.state.added.map((spot) => Number(spot.item.slice(6)));
    const item = `ADDED-${Math.max(0, ...numbers) + 1}`;
    panel.state.added.push({ item, voxel, position, decision: "accept", note: "", time: now() });
    keep(panel);
    return item;
  }
  function remove(panel, item) {
    panel.state.added = panel.state.added.filter((spot) => spot.item !== item);
    keep(panel);
  }

  function show(panel) {
    for (const row of all("tr[data-kind=added]", panel.body)) row.remove();
    for (const spot of panel.state.added) panel.body.append(rowOf(panel, spot));
    const n = { accept: 0, reject: 0, unsure: 0, none: 0, lesions: 0 };
    for (const row of panel.body.rows) {
      const { item, kind } = row.dataset;
      const one = kind === "added" ? panel.state.added.find((spot) => spot.item === item) : panel.state.items[item];
      const decision = WORDS.includes(one?.decision) ? one.decision : "";
      row.dataset.decided = decision;
      row.querySelector(".decided").textContent = decision || "none yet";
      row.querySelector(".noted").textContent = one?.note || "";
      if (kind !== "candidate" || decision) n[decision || "none"] += 1;
      n.lesions += kind === "candidate" ? decision === "accept" : decision !== "reject";
      const card = panel.cards.get(item);
      if (!card) continue;
      card.dataset.decided = decision;
      for (const button of all("button[data-decision]", card)) {
        button.setAttribute("aria-pressed", String(button.dataset.decision === decision));
      }
      const field = card.querySelector(".note");
      if (document.activeElement !== field) field.value = one?.note || "";
    }
    const found = all("tr[data-kind=lesion]", panel.body).length;
    panel.root.querySelector(".live").textContent =
      `By your review ${n.lesions} microbleed${n.lesions === 1 ? "" : "s"}, by the program ${found}. ` +
      `Accepted ${n.accept}, rejected ${n.reject}, unsure ${n.unsure}; lesions not decided ${n.none}.`;
    if (!stored) say(panel, "This browser keeps nothing of this page: export before you close it.");
    filter(panel);
  }
  function rowOf(panel, spot) {
    const row = document.createElement("tr");
    Object.assign(row.dataset, { item: spot.item, kind: "added", region: "", diameter: "", probability: "",
      voxel: spot.voxel.join(" "), position: spot.position.map((mm) => mm.toFixed(2)).join(" ") });
    const cells = ["", spot.item, "added", "n/a", "n/a", "n/a", "n/a", ""].map((text) => {
      const cell = row.insertCell();
      cell.textContent = text;
      return cell;
    });
    cells[0].className = "decided";
    cells[5].className = cells[6].className = "number";
    cells[7].className = "noted";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Remove";
    button.addEventListener("click", () => remove(panel, spot.item));
    cells[2].append(" ", button);
    return row;
  }
  function filter(panel) {
    const wanted = Object.fromEntries(all("[data-filter]", panel.root).map((c) => [c.dataset.filter, c.value]));
    let n = 0;
    for (const row of panel.body.rows) {
      const { kind, region, decided } = row.dataset;
      const least = (name) => !wanted[name] || (row.dataset[name] !== "" && Number(row.dataset[name]) >= Number(wanted[name]));
      row.hidden = !((!wanted.kind || kind === wanted.kind) && (!wanted.region || region === wanted.region) &&
        (!wanted.decision || (decided || "none") === wanted.decision) && least("diameter") && least("probability"));
      n += !row.hidden;
    }
    panel.root.querySelector(".shown").textContent = `${n} of ${panel.body.rows.length} shown`;
  }

  const say = (panel, text) => { panel.root.querySelector(".said").textContent = text; };
  function rows(panel, reader) {
    const { participant, session, result } = panel.root.dataset;
    return [...panel.body.rows].map((row) => {
      const { item, kind, region, diameter, probability } = row.dataset;
      const one = kind === "added" ? panel.state.added.find((spot) => spot.item === item) : panel.state.items[item];
      const voxel = row.dataset.voxel.split(" ");
      const position = row.dataset.position.split(" ");
      const cells = [participant, session, result, item, kind, one?.decision, one?.note, ...[0, 1, 2].map((n) => voxel[n]),
        ...[0, 1, 2].map((n) => position[n]), region, diameter, probability, reader, one?.time];
      return cells.map((cell) => plain(String(cell ?? "")) || "n/a").join("\t");
    });
  }
  const touched = (panel) => panel.state.added.length || Object.values(panel.state.items).some((one) => one.decision || one.note);
  function save(panel) {
    const reader = plain(panel.root.querySelector(".reader").value);
    const some = panels.filter(touched);
    if (!reader) { say(panel, "Say who reads: fill in Reader."); return; }
    if (!some.length) { say(panel, "Nothing to export: no decision yet."); return; }
    write("mbseg-reader", reader);
    const text = [COLUMNS.join("\t"), ...some.flatMap((one) => rows(one, reader)), ""].join("\n");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/tab-separated-values" }));
    link.download = `${panel.root.dataset.participant}_review-${reader.replace(/[^0-9A-Za-z]+/g, "") || "reader"}.tsv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    say(panel, `Exported ${some.length} session${some.length === 1 ? "" : "s"} to ${link.download}.`);
  }
  async function bring(panel, input) {
    const lines = (await input.files[0].text()).split(/\r?\n/).filter((line) => line);
    input.value = "";
    const names = lines.shift()?.split("\t") || [];
    if (!["participant_id", "session_id", "result", "item", "kind", "decision"].every((name) => names.includes(name))) {
      say(panel, "That is no exported review.");
      return;
    }
    const known = lines.map((line) => Object.fromEntries(line.split("\t").map((cell, n) => [names[n], cell === "n/a" ? "" : cell])));
    let n = 0;
    for (const one of panels) {
      const { participant, session, result } = one.root.dataset;
      const own = known.filter((row) => row.participant_id === participant && (row.session_id || "n/a") === session && row.result === result);
      if (!own.length) continue;
      one.state = { items: {}, added: [] };
      for (const row of own) {
        const said = { decision: WORDS.includes(row.decision) ? row.decision : "", note: row.note || "", time: row.time || "" };
        if (row.kind === "added") {
          one.state.added.push({ item: row.item, voxel: [row.i, row.j, row.k].map(Number), position: [row.x_mm, row.y_mm, row.z_mm].map(Number), ...said });
        } else if (said.decision || said.note) one.state.items[row.item] = said;
      }
      n += own.length;
      keep(one);
    }
    say(panel, n ? `Loaded ${n} rows.` : "That review is of another session, or of another result.");
  }

  const keys = { a: "accept", r: "reject", u: "unsure" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
    const here = document.activeElement.closest("[data-item]");
    const panel = here && panelOf(here);
    if (!panel) return;
    if (event.key in keys) decide(panel, here.dataset.item, keys[event.key]);
    else if (event.key === "n" && here.querySelector(".note")) here.querySelector(".note").focus();
    else return;
    event.preventDefault();
  });
  addEventListener("storage", (event) => {
    const panel = panels.find((one) => one.key === event.key);
    if (!panel) return;
    panel.state = load(panel.key);
    show(panel);
    document.dispatchEvent(new CustomEvent("mbseg-review", { detail: panel }));
  });
  for (const panel of panels) setUp(panel);
  globalThis.mbsegReview = { panels, add, remove, decide, note, keys };
})();
