// Asks whether the list has changed; reloads, but never under the reader's hand.
const list = document.body.dataset.list;
const tag = document.body.dataset.tag;
const notice = document.getElementById("changed");
const main = document.getElementById("list");
const POLL_MS = 5000;
const RELOAD_MS = 60000; // waiting times grow even where nothing changes
const opened = Date.now();

const inHand = () => main.matches(":hover") || (main.contains(document.activeElement) && document.activeElement !== main);

async function look() {
  try {
    const answer = await fetch(list, { method: "HEAD", headers: { "If-None-Match": tag }, cache: "no-store" });
    const changed = answer.status === 200;
    if ((changed || Date.now() - opened > RELOAD_MS) && !inHand()) location.reload();
    else notice.hidden = !changed;
  } catch {
    // The server is away: the next look tells.
  }
  setTimeout(look, POLL_MS);
}
setTimeout(look, POLL_MS);
