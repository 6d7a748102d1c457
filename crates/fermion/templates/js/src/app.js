// Answers a request. A handler is an ordinary `fetch` listener, as in a browser's service worker.
addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const { pathname } = new URL(request.url);
  return new Response(`Hello from {{name}} at ${pathname}\n`, {
    headers: { "content-type": "text/plain; charset=utf-8" },
  });
}
