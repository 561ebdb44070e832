import { readFileSync } from "node:fs";

enum Mode { Echo = "echo", Exit = "exit", Fail = "fail", Loop = "loop", Eat = "eat", Flood = "flood" }

class Rest {
  constructor(readonly all: string[]) {}
}

console.log("grün €");
const mode = process.argv[2] as Mode;
const rest: Rest = new Rest(process.argv.slice(3));
const eaten: number[][] = [];
switch (mode) {
  case Mode.Echo:
    console.log([readFileSync(0, "utf8"), ...rest.all].join("\n"));
    break;
  case Mode.Exit:
    process.exit(7);
  case Mode.Fail:
    throw new Error("boom");
  case Mode.Loop:
    for (;;);
  case Mode.Eat:
    for (;;) eaten.push(Array(10000).fill(1.5));
  case Mode.Flood:
    process.stdout.write("x".repeat(1048566));
}
