// What a keyboard needs: what scrolls can be focused, and furo's drawers are opened and closed.
(() => {
  "use strict";

  const SCROLLERS = ":is(.math-body, .dataflow, .scroller, .table-wrapper, pre):not(.datatable *)";
  const observer = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  for (const scroller of document.querySelectorAll(SCROLLERS)) {
    if (!scroller.hasAttribute("tabindex")) observer.observe(scroller);
  }

  // Furo's checkboxes, which stand outside of all landmarks, are buttons that stay pressed.
  for (const toggle of document.querySelectorAll(".sidebar-toggle")) {
    const tell = () => toggle.setAttribute("aria-pressed", toggle.checked);
    toggle.setAttribute("role", "button");
    toggle.addEventListener("change", tell);
    toggle.addEventListener("keydown", ({ key }) => key === "Enter" && toggle.click());
    tell();
  }
  document.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape") return;
    for (const toggle of document.querySelectorAll(".sidebar-toggle:checked")) {
      toggle.click();
      toggle.focus();
    }
  });
})();
