// What a reader does with the list: opens, closes, marks as read, says what a finding is worth.
import { ask, keepReader, reader, tell } from "./reader.js";

const RENEW_MS = 180000; // well within the lease
const OPEN = "roi-open";
const FOCUS = "roi-focus";
const words = document.body.dataset;
const name = document.querySelector("#reader input");

// ------------------------------------------------------------------- studies that this tab holds open
const held = () => JSON.parse(sessionStorage.getItem(OPEN) ?? "[]");
const hold = (study) => sessionStorage.setItem(OPEN, JSON.stringify([...new Set([...held(), study])]));
const letGo = (study) => sessionStorage.setItem(OPEN, JSON.stringify(held().filter((each) => each !== study)));

async function open(study) {
  const answer = await ask("PUT", `/api/studies/${study}/opened`, {}, words.taken);
  if (answer) hold(study);
  else letGo(study);
  return answer;
}

setInterval(() => reader() && held().forEach(open), RENEW_MS);

// ---------------------------------------------------------------------------------------- acts on a row
const ACTS = {
  open: (row) => open(row.dataset.study),
  close: (row) => {
    letGo(row.dataset.study);
    return ask("DELETE", `/api/studies/${row.dataset.study}/opened`, {});
  },
  report: (row) => {
    letGo(row.dataset.study);
    const revision = Number(row.dataset.revision);
    return ask("PUT", `/api/studies/${row.dataset.study}/reported`, { revision });
  },
  "take-back": (row) => ask("DELETE", `/api/studies/${row.dataset.study}/reported`, {}),
};

function say(button) {
  const { result, finding, verdict } = button.dataset;
  const word = button.getAttribute("aria-pressed") === "true" ? null : verdict;
  return ask("PUT", `/api/results/${result}/feedback`, { finding, verdict: word });
}

function isNamed() {
  if (reader()) return true;
  tell(words.who);
  name.focus();
  return false;
}

async function act(button) {
  if (!isNamed()) return;
  const row = button.closest("tr");
  const answer = await (button.dataset.act ? ACTS[button.dataset.act](row) : say(button));
  if (!answer) return;
  const place = [...row.querySelectorAll("button")].indexOf(button);
  sessionStorage.setItem(FOCUS, JSON.stringify([row.dataset.study, place]));
  location.reload();
}

document.getElementById("list").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const view = event.target.closest("a.view");
  if (button) act(button);
  else if (view && reader()) open(view.closest("tr").dataset.study);
});

// ------------------------------------------------------------------------------------ as the page begins
function show() {
  const me = reader();
  for (const button of document.querySelectorAll("button[data-verdict]")) {
    button.setAttribute("aria-pressed", String(Boolean(me) && JSON.parse(button.dataset.by).includes(me)));
    button.hidden = false;
  }
  for (const acts of document.querySelectorAll(".acts")) acts.hidden = false;
}

// The hand was on this button before the list was made anew.
function giveFocusBack() {
  const [study, place] = JSON.parse(sessionStorage.getItem(FOCUS) ?? "[]");
  sessionStorage.removeItem(FOCUS);
  const row = [...document.querySelectorAll("tbody tr")].find((each) => each.dataset.study === study);
  if (study) (row?.querySelectorAll("button")[place] ?? document.getElementById("list")).focus();
}

keepReader(name);
name.addEventListener("change", show);
name.form.addEventListener("submit", (event) => event.preventDefault());
name.form.hidden = false;
show();
giveFocusBack();
