// Keys that do something, where they mean nothing else.

/** Whether a key already means something where the focus is. */
function isTaken(target, key) {
  if (target.matches("select, input[type=number]")) return true;
  if (target.matches("input[type=range]")) return !/^[a-z +=-]$/.test(key) || key === "-";
  if (target.matches(".scroll, pre")) return /^(Arrow|Page|Home|End)/.test(key);
  return key === " " && target.matches("button, summary, input, a");
}

/** Listen for shortcuts, [keys, name of the key, what it does, action], and list them on the page. */
function wireShortcuts(shortcuts) {
  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || !byId("shortcuts").checked) return;
    if (isTaken(target, key)) return;
    const found = shortcuts.find(([keys]) => keys.includes(key.length === 1 ? key.toLowerCase() : key));
    if (!found) return;
    event.preventDefault();
    found[3]();
  });
  byId("keys").append(
    ...shortcuts.map(([, key, does]) => {
      const name = html("dt", {}, html("kbd", { textContent: key }));
      return html("div", {}, name, html("dd", { textContent: does }));
    }),
  );
}
