// Puts a button below each div.reconstruction; what a view needs is fetched when it is pressed.
(() => {
  "use strict";

  const base = new URL(".", document.currentScript.src);
  const PARTS = ["3Dmol-min.js", "isosurface.js", "slices.js", "controls.js", "viewer.js"];
  const LIBRARY_BYTES = 560_000;
  const scripts = new Map();
  window.AtompaintCrops = {};

  // Classic scripts, one after the other: pages from file:// may fetch nothing else.
  function loadScript(address) {
    if (!scripts.has(address)) {
      const loading = new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = new URL(address, base);
        script.onload = resolve;
        script.onerror = () => {
          scripts.delete(address);
          reject(new Error(`${address} could not be loaded`));
        };
        document.head.append(script);
      });
      scripts.set(address, loading);
    }
    return scripts.get(address);
  }

  async function loadCrop(crop) {
    const address = crop.key.split("/").map(encodeURIComponent).join("/");
    await loadScript(`reconstructions/${address}?v=${crop.version}`);
    return AtompaintCrops[crop.key];
  }

  function prepare(box) {
    const view = JSON.parse(box.dataset.view);
    const bar = document.createElement("p");
    bar.className = "reconstruction-bar";
    const button = document.createElement("button");
    button.type = "button";
    const size = (LIBRARY_BYTES + view.crops[0].bytes) / 1e6;
    button.textContent = "Open in 3D";
    button.title = `Loads ${size.toFixed(1)} MB from files beside this page`;
    const status = document.createElement("span");
    status.setAttribute("role", "status");
    bar.append(button, status);
    box.append(bar);

    let opened = null;
    button.addEventListener("click", async () => {
      if (!document.createElement("canvas").getContext("webgl2")) {
        status.textContent = "No 3D view: this browser has no WebGL 2. The slices above stay.";
        return;
      }
      button.disabled = true;
      status.textContent = "Loading …";
      try {
        for (const part of PARTS) await loadScript(part);
        opened ??= await AtompaintViewer.open(box, view, loadCrop);
        box.classList.add("reconstruction-open");
        opened.show();
        status.textContent = "";
      } catch (error) {
        status.textContent = `No 3D view: ${error.message}. The slices above stay.`;
      }
      button.disabled = false;
    });
    box.addEventListener("reconstruction-close", () => {
      box.classList.remove("reconstruction-open");
      button.focus();
    });
  }

  document.querySelectorAll("div.reconstruction").forEach(prepare);
})();
