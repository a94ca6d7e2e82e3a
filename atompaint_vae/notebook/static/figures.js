// Opens a figure enlarged: by a click or by Enter. The arrow keys and two buttons lead to the page's
// other figures; Escape, a click or the button closes it.
(() => {
  "use strict";

  const dialog = document.createElement("dialog");
  dialog.className = "figure-dialog";
  const figures = []; // the image, its caption and the button that it is in
  let current = 0;

  function makeButton(text, name, act) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.className = `figure-${name.toLowerCase()}`;
    button.setAttribute("aria-label", name);
    button.addEventListener("click", (event) => {
      event.stopPropagation();
      act();
    });
    return button;
  }

  const buttons = {
    close: makeButton("×", "Close", () => dialog.close()),
    previous: makeButton("‹", "Previous", () => show(current - 1)),
    next: makeButton("›", "Next", () => show(current + 1)),
  };

  function show(index) {
    if (!figures[index]) return;
    current = index;
    const { image, caption } = figures[index];
    const large = document.createElement("img");
    large.src = image.src;
    large.alt = image.alt;
    // As large as the window lets it be, whatever its own size: figures are SVG.
    const ratio = image.naturalWidth / image.naturalHeight || 1;
    large.style.width = `min(calc(98vw - 4rem), calc((94vh - 7rem) * ${ratio}))`;
    buttons.previous.disabled = index === 0;
    buttons.next.disabled = index === figures.length - 1;
    const around = figures.length > 1 ? [buttons.previous, buttons.next] : [];
    const focused = document.activeElement;
    const isInside = dialog.contains(focused);
    dialog.replaceChildren(buttons.close, ...around, large);
    if (isInside) (focused.disabled ? buttons.close : focused).focus();
    if (caption) {
      const copy = caption.cloneNode(true);
      copy.querySelectorAll(".headerlink").forEach((link) => link.remove());
      [copy, ...copy.querySelectorAll("[id]")].forEach((x) => x.removeAttribute("id"));
      dialog.append(copy);
    }
    dialog.setAttribute("aria-label", caption?.textContent.trim() ?? "Figure");
  }

  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(current + step);
  });
  dialog.addEventListener("close", () => figures[current].button.focus());

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
    const index = figures.push({ image, caption, button }) - 1;
    button.addEventListener("click", () => {
      show(index);
      dialog.showModal();
    });
  }
})();
