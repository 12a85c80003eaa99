// The list of claims by words, verdict and document; without this it is the whole list.
const form = document.getElementById("filter");
const items = [...document.querySelectorAll(".claims > li")];
const output = form.querySelector("output");

function show() {
  const words = form.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const item of items) {
    const text = item.textContent.toLowerCase();
    const fits =
      (!form.word.value || item.dataset.word === form.word.value) &&
      (!form.document.value || item.closest("section").dataset.document === form.document.value) &&
      words.every((word) => text.includes(word));
    item.hidden = !fits;
    shown += fits;
  }
  for (const section of document.querySelectorAll("section[data-document]")) {
    section.hidden = !section.querySelector("li:not([hidden])");
  }
  output.textContent = `${shown} of ${items.length} claims`;
}

form.hidden = false;
form.addEventListener("input", show);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(show));
show();
