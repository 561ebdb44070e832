"""What people do with JavaScript works."""

import json

import pytest

from app.domain.execution import Status
from app.domain.limits import MIB
from tests.contract.runs import Box

WORKS = {
    "CommonJS": """
const assert = require("assert"), path = require("path");
assert.equal(module, require.main);
assert.equal(__filename, "/box/main.js");
assert.equal(path.basename(__dirname), "box");
console.log("works");
""",
    "ES modules": """
import assert from "node:assert";
import { readFileSync } from "node:fs";
assert.equal(import.meta.url, "file:///box/main.js");
assert.ok(readFileSync(new URL(import.meta.url)).length);
console.log("works");
""",
    "top-level await": """
import { setTimeout as sleep } from "node:timers/promises";
const word = await sleep(5, "works");
console.log(word);
""",
    "dynamic import": """
require("fs").writeFileSync("helper.mjs", "export default 'works'");
import("./helper.mjs").then((helper) => console.log(helper.default));
""",
    "a module of its own": """
require("fs").writeFileSync("helper.js", "module.exports = 'works'");
console.log(require("./helper"));
""",
    "worker_threads": """
const { Worker, isMainThread, parentPort, workerData } = require("worker_threads");
if (isMainThread) {
  const workers = [1, 2, 3, 4].map((n) => new Promise((done, failed) =>
    new Worker(__filename, { workerData: n }).on("message", done).on("error", failed)));
  Promise.all(workers).then((all) => console.log(all.join() === "1,4,9,16" ? "works" : all));
} else parentPort.postMessage(workerData ** 2);
""",
    "child_process": """
const { execSync, fork, spawnSync } = require("child_process");
if (process.argv[2] === "child") process.send("works");
else {
  if (execSync("echo $((6 * 7))").toString() !== "42\\n") process.exit(1);
  if (spawnSync("false").status !== 1) process.exit(2);
  fork(__filename, ["child"]).on("message", (word) => console.log(word));
}
""",
    "promises and timers": """
setImmediate(() => setTimeout(() => Promise.resolve("works").then(console.log), 5));
""",
    "streams and compression": """
const { pipeline, Readable } = require("stream"), zlib = require("zlib");
let all = "";
pipeline(Readable.from(["wor", "ks"]), zlib.createGzip(), zlib.createGunzip(), async (parts) => {
  for await (const part of parts) all += part;
}, (error) => console.log(error || all));
""",
    "a server and fetch": """
require("http").createServer((request, response) => response.end("works")).listen(0, function () {
  fetch(`http://127.0.0.1:${this.address().port}`)
    .then((answer) => answer.text()).then((text) => { console.log(text); process.exit() });
});
""",
    "cryptography": """
const crypto = require("crypto");
crypto.pbkdf2("x", "y", 10, 16, "sha256", (error, key) => {
  const two = new Set([crypto.randomUUID(), crypto.randomUUID()]).size;
  console.log(error || key.length !== 16 || two !== 2 ? "fails" : "works");
});
""",
    "WebAssembly": """
const empty = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]);
WebAssembly.instantiate(empty).then(() => console.log("works"));
""",
    "dates and time zones": """
const noon = new Date("2024-07-01T12:00:00Z");
const there = noon.toLocaleTimeString("en-GB", { timeZone: "Europe/Berlin" });
console.log(there === "14:00:00" && noon.getHours() === 12 ? "works" : there);
""",
    "a lot of small objects": """
const all = [];
for (let n = 0; n < 1e6; n++) all.push({ n });
console.log(all.length === 1e6 ? "works" : "fails");
""",
    "process.on('exit')": "process.on('exit', () => console.log('works'))",
}


@pytest.mark.parametrize("what", WORKS)
async def test_what_people_use(javascript: Box, what: str) -> None:
    result = await javascript(WORKS[what])
    assert (result.status, result.text) == (Status.SUCCEEDED, "works\n"), result
    assert result.stderr == b""


async def test_a_rejection_that_nobody_handles_fails(javascript: Box) -> None:
    result = await javascript("Promise.reject(new Error('boom'))")
    assert result.outcome.exit_code == 1, result
    assert b"boom" in result.stderr


async def test_a_syntax_error_is_shown_with_its_line(javascript: Box) -> None:
    result = await javascript("console.log('never')\nif (\n")
    assert result.outcome.exit_code == 1, result
    assert "/box/main.js:" in result.stderr.decode()
    assert b"SyntaxError" in result.stderr
    assert result.stdout == b""


async def test_the_exit_code_can_be_left_to_the_end(javascript: Box) -> None:
    result = await javascript("process.exitCode = 5; console.log('on')")
    assert (result.text, result.outcome.exit_code) == ("on\n", 5), result


async def test_an_await_that_never_ends_is_an_end(javascript: Box) -> None:
    result = await javascript("await new Promise(() => {});")
    assert result.outcome.exit_code == 13, result


async def test_the_arguments_of_node_itself_are_not_the_programs(javascript: Box) -> None:
    source = "console.log(JSON.stringify([process.execArgv, process.argv.slice(1)]))"
    result = await javascript(source, args=["--inspect", "-e"], memory=200 * MIB)
    heap = ["--max-old-space-size=200"]
    assert json.loads(result.stdout) == [heap, ["/box/main.js", "--inspect", "-e"]]


async def test_no_package_of_this_host_can_be_required(javascript: Box) -> None:
    source = """
const found = ["npm", "corepack", "typescript", "/usr/local/lib/node_modules/npm"].filter(
  (name) => { try { require(name); return true } catch { return false } });
console.log(JSON.stringify(found));
"""
    assert json.loads((await javascript(source)).stdout) == []


async def test_an_abort_is_a_crash(javascript: Box) -> None:
    result = await javascript("process.abort()")
    assert (result.status, result.outcome.signal) == (Status.CRASHED, "SIGABRT"), result
