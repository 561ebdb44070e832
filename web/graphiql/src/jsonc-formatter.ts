/**
 * A Prettier plugin for JSON with comments that leaves the work to jsonc-parser.
 *
 * GraphiQL asks Prettier to tidy variables and headers, and gives it its parser
 * for all of JavaScript. vite.config.ts puts this module in that parser's place.
 */
import { applyEdits, format } from "jsonc-parser";
import type { Parser, Printer } from "prettier";

/** The text as it is: jsonc-parser formats text, so there is no tree to build. */
interface Document {
  text: string;
}

const jsonc: Parser<Document> = {
  astFormat: "text",
  parse: (text) => ({ text }),
  locStart: () => 0,
  locEnd: ({ text }) => text.length,
};

const text: Printer<Document> = {
  print: ({ node }) =>
    applyEdits(node.text, format(node.text, undefined, { insertSpaces: true, tabSize: 2 })),
};

export const parsers = { jsonc };
export const printers = { text };
