(() => {
  "use strict";
  const grids = [...document.querySelectorAll("[data-gallery]")];
  if (!grids.length) return;
  document.documentElement.classList.add("js");
  const find = document.getElementById("find");
  const only = document.getElementById("only");
  const order = document.getElementById("order");
  const shown = document.getElementById("shown");
  const number = (text) => (text === undefined || text === "" ? null : Number(text));
  const cards = grids.flatMap((grid) => [...grid.children]).map((element) => ({
    element,
    grid: element.parentElement,
    text: element.textContent.toLowerCase() + " " + element.title.toLowerCase(),
    rank: number(element.dataset.rank),
    score: number(element.dataset.score),
    sure: number(element.dataset.sure),
    guess: element.dataset.guess ?? "",
    name: element.title,
  }));
  const last = (a, b, compare) => (a === null ? (b === null ? 0 : 1) : b === null ? -1 : compare);
  const orders = {
    rank: (a, b) => a.rank - b.rank,
    score: (a, b) => last(a.score, b.score, b.score - a.score) || a.rank - b.rank,
    unsure: (a, b) => last(a.sure, b.sure, a.sure - b.sure) || a.rank - b.rank,
    sure: (a, b) => last(a.sure, b.sure, b.sure - a.sure) || a.rank - b.rank,
    guess: (a, b) => a.guess.localeCompare(b.guess) || a.rank - b.rank,
    name: (a, b) => a.name.localeCompare(b.name) || a.rank - b.rank,
  };
  const update = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const card of cards) {
      const fits = words.every((word) => card.text.includes(word)) && (!only || !only.value || card.guess === only.value.slice(1));
      card.element.hidden = !fits;
      if (fits) count += 1;
    }
    shown.textContent = count === cards.length ? `${count} pictures` : `${count} of ${cards.length}`;
  };
  const arrange = () => {
    cards.sort(orders[order.value]);
    for (const grid of grids) grid.append(...cards.filter((card) => card.grid === grid).map((card) => card.element));
  };
  find.addEventListener("input", update);
  if (only) only.addEventListener("change", update);
  order.addEventListener("change", arrange);
  update();
})();
