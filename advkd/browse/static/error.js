// A page that could not be shown: it looks again, and comes back by itself.

import { page } from "./page.js";

async function again() {
  try {
    const answer = await fetch(location.href, { method: "HEAD" });
    if (answer.ok) {
      location.reload();
      return;
    }
  } catch {
    // The server is away too; it may come back.
  }
  setTimeout(again, 3000);
}

if (page.passing) setTimeout(again, 3000);
