"use strict";
// Where the page is served by permgrad, the network itself answers what-if questions; until it has, and where it does
// not, the page's own answer stands.
(() => {
  let latest = 0;
  document.addEventListener("what-if", async ({ detail: { row, changes, say } }) => {
    const turn = ++latest;
    if (!Object.keys(changes).length) return;
    const asked = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ row, changes }) };
    const response = await fetch("what-if", asked).catch(() => null);
    if (!response?.ok) return;
    const { answer } = await response.json();
    if (turn === latest) say(answer, "live");
  });
})();
