// The page of images: pictures of surfaces on the cards, and one view that a card opens.
// Browsers allow few 3D canvases in a page, so that all cards share those of two views.
(() => {
  "use strict";

  const TILT = [-0.13, 0.2, 0.03, 0.97]; // a rotation, so that pictures show depth
  const { view, crops } = JSON.parse(document.getElementById("images").textContent);
  const cards = Array.from(document.querySelectorAll(".card"));
  const box = document.querySelector(".gallery > .reconstruction");
  const status = document.querySelector(".gallery-status");
  const nextFrame = () => new Promise(requestAnimationFrame);
  const open = (place) => AtompaintViewer.open(place, view, async ({ key }) => crops[key]);

  if (!document.createElement("canvas").getContext("webgl2")) {
    status.textContent = "No 3D views: this browser has no WebGL 2.";
    return;
  }

  let opening = null;
  cards.forEach((card, k) =>
    card.addEventListener("click", async () => {
      try {
        cards.forEach((x) => (x.ariaExpanded = x === card));
        card.after(box);
        box.classList.add("reconstruction-open");
        const opened = await (opening ??= open(box));
        await opened.choose(k);
        opened.show();
        box.scrollIntoView({ block: "nearest" });
      } catch (error) {
        status.textContent = `No 3D view: ${error.message}`;
      }
    }),
  );
  box.addEventListener("reconstruction-close", () => {
    box.classList.remove("reconstruction-open");
    const card = cards.find((x) => x.ariaExpanded === "true");
    card.ariaExpanded = false;
    card.focus();
  });

  // A later call ends an earlier one.
  let round = 0;
  async function takePictures(studio) {
    const mine = ++round;
    for (const [k, card] of cards.entries()) {
      await studio.choose(k);
      if (mine !== round) return;
      studio.pointCamera([0, 0, 0], 1.5 * studio.crop.halfSide_A, TILT);
      await nextFrame();
      await nextFrame();
      card.querySelectorAll(".card-solid").forEach((place, i) => {
        const picture = new Image();
        picture.alt = `${view.panels[i]} in 3D`;
        picture.src = studio.panels[i].viewer.pngURI();
        place.replaceChildren(picture);
      });
    }
    document.body.classList.add("gallery-ready");
  }

  open(document.querySelector(".studio")).then(
    (studio) => {
      takePictures(studio);
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => takePictures(studio));
    },
    (error) => (status.textContent = `No 3D views: ${error.message}`),
  );
})();
