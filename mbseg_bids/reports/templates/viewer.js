(() => {
  const { panels, add, note } = globalThis.mbsegReview;
  const place = document.getElementById("place");
  const canvas = document.getElementById("viewer");
  document.documentElement.classList.add("scripted");
  const failed = (why) => { place.textContent = `No viewer: ${why}. The list works without it.`; };
  const bodyRows = () => [...document.querySelectorAll(".review tbody tr")].filter((row) => row.checkVisibility());
  const panelOf = (element) => panels.find((panel) => panel.section.contains(element));
  let nv = null;
  let shown = null;  // the panel whose images are loaded
  let here = null;  // mm, RAS+

  // Rows stand for cards: they take the focus, the keys of the review, and move the cross.
  function ready(panel) {
    for (const row of panel.body.rows) row.tabIndex = 0;
    if (panel === shown) paint();
  }
  document.addEventListener("mbseg-review", (event) => ready(event.detail));
  function choose(row) {
    for (const other of document.querySelectorAll("tr.here")) other.classList.remove("here");
    row.classList.add("here");
    const position = row.dataset.position.split(" ").filter((cell) => cell).map(Number);
    const panel = panelOf(row);
    show(panel).then(() => { if (nv && position.length === 3 && position.every(Number.isFinite)) go(position); });
  }
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest?.(".review tbody tr");
    if (row) choose(row);
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest(".review tbody a");
    if (link) event.preventDefault();
    const row = event.target.closest(".review tbody tr");
    if (row && !event.target.closest("button, input")) row.focus();
  });
  function step(way) {
    const rows = bodyRows();
    const now = rows.indexOf(document.querySelector("tr.here"));
    if (rows.length) rows[now < 0 ? (way > 0 ? 0 : rows.length - 1) : (now + way + rows.length) % rows.length].focus();
  }
  function write() {
    const row = document.querySelector("tr.here");
    if (!row) return;
    const cell = row.querySelector(".noted");
    const field = document.createElement("input");
    field.value = cell.textContent;
    field.setAttribute("aria-label", `Note on ${row.dataset.item}`);
    cell.replaceChildren(field);
    field.focus();
    const item = row.dataset.item;
    field.addEventListener("change", () => note(panelOf(row), item, field.value));
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      field.blur();
      [...document.querySelectorAll(".review tbody tr")].find((r) => r.dataset.item === item && r.checkVisibility())?.focus();
    });
  }

  // Images lie in scripts beside the page: a page opened from disk may not read other files.
  function images(panel) {
    const name = panel.section.dataset.images;
    const store = (globalThis.mbsegImages ??= {});
    if (store[name]) return Promise.resolve(store[name]);
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `${name}_images.js`;
      script.onload = () => resolve(store[name]);
      script.onerror = () => reject(new Error(`${script.src.split("/").pop()} is not beside this page`));
      document.head.append(script);
    });
  }
  async function show(panel) {
    if (!nv || panel === shown) return;
    place.textContent = "Loading.";
    let found;
    try { found = await images(panel); } catch (error) { failed(error.message); return; }
    while (nv.volumes.length) nv.removeVolumeByIndex(0);
    const layers = [["t2star", "gray", 1], ["lesions", "red", 0.5], ["candidates", "blue", 0.45], ["added", "warm", 0.9]];
    for (const [name, colormap, opacity] of layers) {
      const range = name === "t2star" ? { cal_min: 0, cal_max: 255 } : { cal_min: 0.5, cal_max: name === "added" ? 1.2 : 1 };
      nv.addVolume(await niivue.NVImage.loadFromBase64({ base64: found[name], name: `${name}.nii.gz`, colormap, opacity, ...range }));
    }
    shown = panel;
    panel.affine = found.affine;
    panel.shape = found.shape;
    nv.setInterpolation(true);
    view();
    paint();
  }
  function view() {
    const kinds = { axial: nv.sliceTypeAxial, coronal: nv.sliceTypeCoronal, sagittal: nv.sliceTypeSagittal, all: nv.sliceTypeMultiplanar };
    nv.setSliceType(kinds[document.getElementById("view").value]);
  }
  function paint() {
    if (!nv || nv.volumes.length < 4) return;
    const colours = document.getElementById("colours").checked;
    const [nx, ny] = shown.shape;
    const spots = nv.volumes[3].img;
    spots.fill(0);
    for (const spot of shown.state.added) {
      if (spot.decision !== "reject") spots[spot.voxel[0] + nx * (spot.voxel[1] + ny * spot.voxel[2])] = 1;
    }
    [1, 2, 3].forEach((n, i) => { nv.volumes[n].opacity = colours ? [0.5, 0.45, 0.9][i] : 0; });
    nv.updateGLVolume();
  }
  function go(mm) {
    nv.scene.crosshairPos = nv.mm2frac(mm);
    nv.drawScene();
    moved(mm);
  }
  function voxelOf(panel, mm) {
    const a = panel.affine;  // rows of mm-to-voxel
    return [0, 1, 2].map((n) => Math.round(a[n][0] * mm[0] + a[n][1] * mm[1] + a[n][2] * mm[2] + a[n][3]));
  }
  function moved(mm) {
    here = [...mm].slice(0, 3);
    const voxel = voxelOf(shown, here);
    place.textContent = `${shown.section.querySelector("h2").textContent}: voxel ${voxel.join(", ")} (from 0), ` +
      `${here.map((v) => v.toFixed(1)).join(", ")} mm (RAS+)`;
  }
  function addHere() {
    if (!shown || !here) return;
    const voxel = voxelOf(shown, here);
    if (voxel.some((v, n) => v < 0 || v >= shown.shape[n])) { place.textContent = "The cross is outside the image."; return; }
    const item = add(shown, voxel, here);
    const row = [...shown.body.rows].find((r) => r.dataset.item === item);
    row.classList.add("here");
    row.scrollIntoView({ block: "nearest" });
    place.textContent = `${item} added at voxel ${voxel.join(", ")}.`;
  }
  document.getElementById("add").addEventListener("click", addHere);
  document.getElementById("view").addEventListener("input", () => nv && view());
  document.getElementById("colours").addEventListener("input", paint);
  const keys = {
    j: () => step(1), k: () => step(-1), n: write, m: addHere,
    c: () => { document.getElementById("colours").click(); },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  }, true);  // before NiiVue, which has keys of its own

  for (const panel of panels) ready(panel);
  globalThis.mbsegViewer = (async () => {
    if (typeof niivue === "undefined") { failed("niivue.js is not beside this page"); return null; }
    if (!document.createElement("canvas").getContext("webgl2")) { failed("this browser has no WebGL 2"); return null; }
    nv = new niivue.Niivue({ isRadiologicalConvention: true, backColor: [0, 0, 0, 1], crosshairWidth: 0.5, show3Dcrosshair: false, isColorbar: false, dragAndDropEnabled: false });
    nv.onLocationChange = (data) => { if (shown) moved(data.mm); };
    await nv.attachToCanvas(canvas, false);
    if (panels.length) {
      await show(panels[0]);
      const first = panels[0].body.rows[0];
      if (first) first.focus(); else if (shown) go([0, 0, 0]);
    }
    return nv;
  })();
})();
