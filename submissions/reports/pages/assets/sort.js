"use strict";
// Tables that sort: each head of `table.sortable` becomes a button. Numbers by `data-value`, words by
// their letters; what is empty stays below. A second press turns the order.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.ariaSort ? head.ariaSort !== "ascending" : !head.classList.contains("number");
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const keyed = [...body.rows].map((row) => {
        const cell = row.cells[column];
        const text = cell.textContent.trim();
        return { row, text, value: cell.dataset.value === undefined ? NaN : Number(cell.dataset.value) };
      });
      keyed.sort((a, b) => {
        if ((a.text === "") !== (b.text === "")) return a.text === "" ? 1 : -1;
        const order = Number.isNaN(a.value) || Number.isNaN(b.value)
          ? a.text.localeCompare(b.text, "en", { numeric: true })
          : a.value - b.value;
        return up ? order : -order;
      });
      body.append(...keyed.map((each) => each.row));
    });
  });
}
