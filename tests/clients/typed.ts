// A program as people write them with generated types; `tsc --strict` compiles it first.
import { ApolloClient, HttpLink, InMemoryCache } from "@apollo/client";
import {
  RunTypedDocument,
  type ExecuteCodeInput,
  type ExecutionStatus,
  type TestVerdict,
} from "./generated.js";
import possible from "./possible-types.js";

const client = new ApolloClient({
  link: new HttpLink({ uri: `http://${process.argv[2]}/graphql` }),
  cache: new InMemoryCache({ possibleTypes: possible.possibleTypes }),
});

async function run(input: ExecuteCodeInput) {
  const { data } = await client.mutate({ mutation: RunTypedDocument, variables: { input } });
  if (!data) throw new Error("no data");
  return data.executeCode;
}

const { execution } = await run({ language: "PYTHON", source: "print(6 * 7)", metadata: { a: 1 } });
if (!execution?.usage) throw new Error("no execution");
const status: ExecutionStatus = execution.status;
const peak: number = execution.usage.peakMemoryBytes;
const texts = execution.events.map((event) =>
  event.__typename === "ExecutionOutput" ? event.text : "",
);
const submitted = await run({
  language: "PYTHON",
  source: "def solve(a, b): return [a, b]",
  kind: "SUBMIT",
  tests: [
    { name: "same", call: { arguments: [1, null] }, expectedValue: [1, null] },
    { name: "hidden", call: { arguments: ["x", {}] }, expectedValue: null, hidden: true },
  ],
});
const verdicts: Array<TestVerdict | null> = (submitted.execution?.tests ?? []).map(
  ({ verdict }) => verdict ?? null,
);
const told = (submitted.execution?.events ?? []).flatMap((event) =>
  event.__typename === "ExecutionTestFinished" ? [event.test.name] : [],
);
const refused = await run({ language: "PYTHON", source: "", limits: { wallTimeMs: 10 ** 8 } });
const [error] = refused.errors;
const limit = error?.__typename === "LimitTooHigh" ? [error.limit, error.requested] : [];

const text = texts.join("");
console.log(JSON.stringify({ status, peak, text, verdicts, told, limit, possible }));

// What the types forbid; without an error here, `tsc` complains.
// @ts-expect-error - there is no such language
export const unknown: ExecuteCodeInput = { language: "KLINGON", source: "" };
// @ts-expect-error - a program has a source
export const missing: ExecuteCodeInput = { language: "PYTHON" };
// @ts-expect-error - nothing is compared like that
export const odd: ExecuteCodeInput = { language: "C", source: "", tests: [{ comparison: "ALIKE" }] };
