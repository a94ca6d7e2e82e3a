// Opens a figure enlarged: by a click or by Enter; Escape, a click or the button closes it.
(() => {
  "use strict";

  const dialog = document.createElement("dialog");
  dialog.className = "figure-dialog";
  dialog.addEventListener("click", () => dialog.close());

  function open(image, caption) {
    const close = document.createElement("button");
    close.type = "button";
    close.textContent = "×";
    close.setAttribute("aria-label", "Close");
    const large = document.createElement("img");
    large.src = image.src;
    large.alt = image.alt;
    // As large as the window lets it be, whatever its own size: figures are SVG.
    const ratio = image.naturalWidth / image.naturalHeight || 1;
    large.style.width = `min(calc(98vw - 4rem), calc((94vh - 7rem) * ${ratio}))`;
    dialog.replaceChildren(close, large);
    if (caption) {
      const copy = caption.cloneNode(true);
      copy.querySelectorAll(".headerlink").forEach((link) => link.remove());
      [copy, ...copy.querySelectorAll("[id]")].forEach((x) => x.removeAttribute("id"));
      dialog.append(copy);
    }
    dialog.setAttribute("aria-label", caption?.textContent.trim() ?? "Figure");
    dialog.showModal();
  }

  document.body.append(dialog);
  for (const image of document.querySelectorAll("figure img")) {
    if (image.closest("a, button")) continue;
    const caption = image.closest("figure").querySelector("figcaption");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "enlarge";
    button.title = "Enlarge";
    image.replaceWith(button);
    button.append(image);
    button.addEventListener("click", () => open(image, caption));
  }
})();
