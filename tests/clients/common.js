// What every client here asks, and how it tells the test what it was told.

export const address = process.argv[2];
export const argument = process.argv[3];
export const http = `http://${address}/graphql`;
export const ws = `ws://${address}/graphql`;

export const EVENTS = `
  subscription Events($id: ID!, $after: Int) {
    executionEvents(id: $id, after: $after) {
      __typename
      sequence
      ... on ExecutionOutput { text }
      ... on ExecutionTestFinished { test { name verdict isHidden stdout } }
      ... on ExecutionFinished { execution { id status } }
    }
  }
`;
export const RUN = `
  mutation Run($input: ExecuteCodeInput!) {
    executeCode(input: $input) {
      execution { id status stdout }
      errors { __typename code message }
    }
  }
`;
export const PAGE = `
  query Page($first: Int, $after: String, $filter: ExecutionFilter) {
    executions(first: $first, after: $after, filter: $filter) {
      edges { cursor node { id label } }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
`;
export const WRONG = "query Wrong { nothing }";

export const hello = { language: "PYTHON", source: "print('hello')" };
// Writes a line, waits, and writes another.
export const slow = {
  language: "PYTHON",
  source: "import time\nfor i in range(5):\n    print(i, flush=True)\n    time.sleep(0.1)",
  waitMs: 0,
};

// Three tests, one of them hidden; the first waits until somebody is there to hear.
export const submit = {
  language: "PYTHON",
  kind: "SUBMIT",
  source: "import time\nn = int(input())\ntime.sleep(n == 1)\nprint(2 * n)",
  tests: [
    { name: "one", stdin: "1", expectedStdout: "2" },
    { name: "secret", stdin: "2", expectedStdout: "4", hidden: true },
    { name: "wrong", stdin: "3", expectedStdout: "7" },
  ],
  waitMs: 0,
};

/** Say how it went: one line of JSON. */
export function tell(result) {
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}

/** What a list of events says, in short. */
export function summary(events) {
  return {
    sequences: events.map((event) => event.sequence),
    text: events.map((event) => event.text ?? "").join(""),
    tests: events.flatMap((event) => event.test ?? []),
    last: events.at(-1)?.execution?.status,
  };
}
