const { readFileSync, writeSync } = require("fs");

console.log("grün €");
const [mode, ...rest] = process.argv.slice(2);
const eaten = [];
switch (mode) {
  case "echo":
    console.log([readFileSync(0, "utf8"), ...rest].join("\n"));
    break;
  case "exit":
    process.exit(7);
  case "fail":
    throw new Error("boom");
  case "loop":
    for (;;);
  case "eat":
    for (;;) eaten.push(Array(10000).fill(1.5));
  case "flood":
    process.stdout.write("x".repeat(1048566));
}
