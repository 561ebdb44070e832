// Lets a Node that is up wait for its program: given to it by `--require`, in a warm cell.
//
// It says "r" on the link to the cell's init, waits for the program's arguments, and then leaves
// no trace of itself: Node goes on to load /box/main.js as if it had just been started.
"use strict";

const Module = require("node:module");
const { isMainThread } = require("node:worker_threads");

if (isMainThread) {
  const fs = require("node:fs");
  const LINK = 1000; // as in forkserver.py

  const read = (size) => {
    const data = Buffer.alloc(size);
    for (let at = 0; at < size; ) {
      const count = fs.readSync(LINK, data, at, size - at, null);
      if (count === 0) process.reallyExit(0); // nobody wants us
      at += count;
    }
    return data;
  };

  fs.writeSync(LINK, "r");
  const words = read(read(4).readUInt32LE()).toString().split("\0").slice(0, -1);
  fs.closeSync(LINK);
  process.argv.push(...words);
}

// A worker inherits the option as well, and runs this too.
const at = process.execArgv.indexOf("--require");
if (at >= 0) process.execArgv.splice(at, 2);
process._preload_modules.length = 0;
for (const known of [require.cache, Module._pathCache]) {
  for (const key of Object.keys(known)) if (key.includes("/greenroom/")) delete known[key];
}
