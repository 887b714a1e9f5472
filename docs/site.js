// What the theme leaves out for readers without a mouse or a screen: a name for its search, and tables that a keyboard can scroll.
// Must never: load anything.
addEventListener("load", () => {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  for (const wide of document.querySelectorAll(".md-typeset__scrollwrap")) wide.tabIndex = 0;
});
