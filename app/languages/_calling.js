// Calls a function of a JavaScript program and leaves what it returns in a file. Runs in the cell.
//
// `_calling.py` has the theory of operation. Here as well the file stands in the place of the
// program's own, puts the program's text back, and binds what it uses later before any of that
// runs. It works as a module of either kind, for which it is depends on what else is in the folder.
//
// A program need not export its function: its text becomes the body of a function, with one line
// more. Where the text is a module, to which no such line can be added, it has to export.
"use strict";

const builtin = process.getBuiltinModule ?? require;
const { closeSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } = builtin("node:fs");
const { compileFunction, constants } = builtin("node:vm");
const { dirname } = builtin("node:path");
const { pathToFileURL } = builtin("node:url");
const Module = builtin("node:module");
const { exit, umask } = process;
const { stringify } = JSON;
const { apply, getPrototypeOf } = Reflect;
const { byteLength } = Buffer;
const { isArray } = Array;
const { isFinite } = Number;
const plain = Object.prototype;
const Unreadable = SyntaxError;
const MOST = 1 << 20; // bytes of a value

const { entry, source, name, given, place } = JSON.parse(readFileSync(0, "utf8"));
writeFileSync(entry, source);
// What is loaded already is not loaded again, and so far we are what lies there.
delete Module._cache[entry];
const address = pathToFileURL(entry).href + (typeof module === "undefined" ? "?program" : "");

class NoAnswer {
  constructor(why) {
    this.why = why;
  }
}

// Compile the program's text as the body of a function; null where it is none.
const compiled = () => {
  const body = source.replace(/^\uFEFF?(#!.*)?/, "");
  const importModuleDynamically = constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER;
  try {
    return compileFunction(
      `${body}\n;return typeof ${name} === "function" ? ${name} : undefined;`,
      ["exports", "require", "module", "__filename", "__dirname"],
      { filename: entry, importModuleDynamically },
    );
  } catch (error) {
    if (error instanceof Unreadable) return null;
    throw error;
  }
};

// Run the program's text as what Node calls a CommonJS module, and return its function.
const run = (body) => {
  const own = new Module(entry);
  own.filename = entry;
  own.paths = Module._nodeModulePaths(dirname(entry));
  Module._cache[entry] = own;
  const words = [own.exports, Module.createRequire(entry), own, entry, dirname(entry)];
  const found = apply(body, own.exports, words);
  own.loaded = true;
  return found ?? own.exports?.[name];
};

const check = (key, value) => {
  const kind = typeof value;
  if (value === null || kind === "string" || kind === "boolean") return value;
  if (kind === "number" && isFinite(value)) return value;
  if (kind === "number") throw new NoAnswer(`the number ${value}`);
  if (kind !== "object") throw new NoAnswer(kind === "undefined" ? kind : `a ${kind}`);
  const prototype = getPrototypeOf(value);
  if (isArray(value) || prototype === plain || prototype === null) return value;
  throw new NoAnswer(`an object of class ${value.constructor.name}`);
};

const encoded = (value) => {
  let text;
  try {
    text = stringify(value, check);
  } catch (error) {
    const why = error instanceof NoAnswer ? error.why : error.message;
    throw new NoAnswer(`\`${name}\` returned what JSON cannot hold: ${why}`);
  }
  if (byteLength(text) >= MOST) {
    throw new NoAnswer(`\`${name}\` returned more than ${MOST >> 20} MiB of JSON.`);
  }
  return text;
};

// Leave the one answer; by its last line it is known to be whole.
const leave = (kind, text) => {
  umask(0o022);
  mkdirSync(place);
  const file = openSync(`${place}/${kind}`, "wx");
  writeSync(file, `${text}\n`);
  closeSync(file);
};

const main = async () => {
  try {
    const body = compiled();
    const found = body === null ? (await import(address))[name] : run(body);
    if (typeof found !== "function") {
      const verb = body === null ? "exports" : "defines";
      throw new NoAnswer(`The program ${verb} no function \`${name}\`.`);
    }
    leave("value", encoded(await apply(found, undefined, given)));
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    leave("problem", error.why);
    exit(1);
  }
  exit(); // what is left, such as a timer, nobody waits for
};

main();
//# sourceURL=greenroom:call
