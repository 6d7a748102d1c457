// Turns src/app.js and the JavaScript engine into one component.
import { componentize } from "@bytecodealliance/componentize-js";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

// The engine imports exactly this version of WASI. The interfaces that come with the tools name a later one, which
// for what the engine uses differs by the number only.
const ENGINE_WASI = "0.2.10";
const TOOLS_WASI = "0.2.12";

await rm("dist/wit", { recursive: true, force: true });
await mkdir("dist/wit", { recursive: true });
await cp(`node_modules/@bytecodealliance/jco/lib/wit/builtin/${TOOLS_WASI}`, "dist/wit/deps", { recursive: true });
for (const entry of await readdir("dist/wit/deps", { recursive: true })) {
  if (!entry.endsWith(".wit")) continue;
  const file = join("dist/wit/deps", entry);
  await writeFile(file, (await readFile(file, "utf8")).replaceAll(TOOLS_WASI, ENGINE_WASI));
}
const world = `package local:app;\nworld handler { export wasi:http/incoming-handler@${ENGINE_WASI}; }\n`;
await writeFile("dist/wit/world.wit", world);

const { component } = await componentize({ sourcePath: "src/app.js", witPath: "dist/wit", worldName: "handler" });
await writeFile("dist/app.wasm", component);
