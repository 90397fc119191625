// The table of a folder's pages: sorting by a column, and a filter.

const body = document.querySelector("table.list tbody");
const heads = [...document.querySelectorAll("table.list thead th")];
const rows = [...body.rows];
const found = document.getElementById("found");

function keyOf(row, column) {
  const { value } = row.cells[column].dataset;
  return value === "" ? null : Number.isNaN(Number(value)) ? value : Number(value);
}

/** Rows without a value stay last, whichever way the others go. */
function compare(a, b, way) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return way * (a - b);
  return way * String(a).localeCompare(String(b), "en", { numeric: true });
}

heads.forEach((head, column) => {
  head.querySelector("button")?.addEventListener("click", () => {
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const way = ascending ? 1 : -1;
    rows.sort((a, b) => compare(keyOf(a, column), keyOf(b, column), way));
    body.append(...rows);
  });
});

function filter() {
  const wanted = document.getElementById("filter").value.trim().toLowerCase();
  let count = 0;
  for (const row of rows) {
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
    count += !row.hidden;
  }
  found.textContent = wanted ? `${count} of ${rows.length} shown` : "";
}
document.getElementById("filter").addEventListener("input", filter);
filter();
