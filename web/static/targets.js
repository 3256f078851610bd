// Sets targets, and shows what they promise while they are typed.
import { ask, keepReader, reader, tell } from "./reader.js";

const form = document.getElementById("targets");
const words = document.body.dataset;
const minutes = (name) => form.elements[name].valueAsNumber;

function showBounds() {
  for (const cell of document.querySelectorAll("[data-ahead]")) {
    const bound = minutes(cell.dataset.behind) - minutes(cell.dataset.ahead);
    cell.textContent = bound > 0 ? String(bound) : "–";
  }
}

form.addEventListener("input", showBounds);
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!reader()) {
    tell(words.who);
    form.elements.by.focus();
    return;
  }
  const inputs = [...form.querySelectorAll("input[type=number]")];
  const targets = Object.fromEntries(inputs.map((input) => [input.name, input.valueAsNumber]));
  if (await ask("PUT", "/api/targets", { targets })) location.reload();
});
keepReader(form.elements.by);
document.getElementById("setting").hidden = false;
