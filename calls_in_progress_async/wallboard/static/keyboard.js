// Keys of the whole page. Keys of the list itself are the grid's.

export function bindKeys({ preferences, grid, filter, help, clearFilter }) {
  const actions = {
    "/": () => filter.focus(),
    g: () => preferences.next("group"),
    s: () => preferences.next("order"),
    d: () => preferences.next("density"),
    t: () => preferences.next("theme"),
    "?": () => help.showModal(),
    ArrowDown: () => grid.focus(),
    ArrowUp: () => grid.focus(),
    Escape: clearFilter,
  };
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (event.target === filter && !inFilter(event, grid, filter, clearFilter)) return;
    if (event.target !== filter && event.key in actions) {
      event.preventDefault();
      actions[event.key]();
    }
  });
}

function inFilter(event, grid, filter, clearFilter) {
  if (event.key === "Escape") {
    clearFilter();
    filter.blur();
  } else if (event.key === "ArrowDown" || event.key === "Enter") {
    event.preventDefault();
    grid.focus();
  }
  return false;
}
