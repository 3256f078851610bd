// Who reads, kept in this browser until people sign in; and how an act is told to the server.
const KEY = "roi-reader";
const said = document.getElementById("said");

export const reader = () => (localStorage.getItem(KEY) ?? "").trim();

export function keepReader(input) {
  input.value = reader();
  input.addEventListener("change", () => localStorage.setItem(KEY, input.value.trim()));
}

export function tell(text) {
  said.textContent = text;
}

// Gives the answer, or null once it has said why there is none; whoever asks has named the reader.
export async function ask(method, path, body, refused) {
  const words = document.body.dataset;
  try {
    const answer = await fetch(path, {
      method,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...body, by: reader() }),
      keepalive: true,
    });
    if (answer.ok) return answer;
    tell(answer.status === 409 && refused ? refused : words.refused + (await answer.json()).detail);
  } catch {
    tell(words.away);
  }
  return null;
}
