// What a keyboard needs: what scrolls can be focused, and Escape closes furo's drawers.
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

  document.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape") return;
    for (const drawer of document.querySelectorAll(".sidebar-toggle:checked")) {
      drawer.checked = false;
      drawer.focus();
    }
  });
})();
