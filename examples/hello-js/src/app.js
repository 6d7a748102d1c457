// Answers hello. A handler is an ordinary `fetch` listener, as in a browser's service worker.
addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const name = new URL(request.url).searchParams.get("name") ?? "world";
  return new Response(`Hello, ${name}!\n`, { headers: { "content-type": "text/plain; charset=utf-8" } });
}
