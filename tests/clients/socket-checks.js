// graphql-ws: what a real client counts on, one check for each promise of the protocol.
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { EVENTS, RUN, hello, slow, tell, ws } from "./common.js";

const TYPENAME = { data: { __typename: "Query" } };

/** A client that notes what happens to it. */
function open(options = {}) {
  const seen = { closed: [], opened: 0, acknowledged: 0, pongs: 0, sockets: [] };
  const client = createClient({
    url: ws,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    on: {
      opened: (socket) => {
        seen.opened += 1;
        seen.sockets.push(socket);
      },
      connected: () => (seen.acknowledged += 1),
      closed: (event) => seen.closed.push(event.code),
      pong: (received) => (seen.pongs += received ? 1 : 0),
    },
    ...options,
  });
  return { client, seen };
}

async function all(client, payload) {
  const results = [];
  for await (const result of client.iterate(payload)) results.push(result);
  return results;
}

const ask = (client, query = "{ __typename }", more = {}) => all(client, { query, ...more });
const wrong = (client, payload) =>
  all(client, payload).then(
    () => "no error",
    (errors) => errors[0].extensions?.code ?? `${errors}`,
  );
const is = (actual, expected) => JSON.stringify(actual) === JSON.stringify(expected);

async function until(condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
  return true;
}

async function started(client) {
  const [{ data }] = await ask(client, RUN, { variables: { input: slow } });
  return data.executeCode.execution.id;
}

const checks = {
  "a lazy client connects when it asks": async () => {
    const { client, seen } = open();
    const before = seen.opened;
    await ask(client);
    return before === 0 && seen.opened === 1;
  },
  "an eager client is acknowledged before it asks": async () => {
    const { client, seen } = open({ lazy: false });
    await until(() => seen.acknowledged === 1);
    return is(await ask(client), [TYPENAME]);
  },
  "parameters of the connection are accepted": async () =>
    is(await ask(open({ connectionParams: { any: ["thing", { deep: null }] } }).client), [TYPENAME]),
  "an acknowledgement comes in time": async () =>
    is(await ask(open({ connectionAckWaitTimeout: 2000 }).client), [TYPENAME]),
  "a query has one result": async () => is(await ask(open().client), [TYPENAME]),
  "a mutation has one result": async () => {
    const [{ data }, ...more] = await ask(open().client, RUN, { variables: { input: hello } });
    return data.executeCode.execution.stdout === "hello\n" && more.length === 0;
  },
  "a subscription has its events in order": async () => {
    const { client } = open();
    const id = await started(client);
    const events = await ask(client, EVENTS, { variables: { id } });
    const numbers = events.map(({ data }) => data.executionEvents.sequence);
    return is(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
  },
  "operations share a socket": async () => {
    const { client, seen } = open({ lazyCloseTimeout: 1000 });
    const results = await Promise.all([...Array(50)].map(() => ask(client)));
    return results.every((each) => is(each, [TYPENAME])) && seen.opened === 1;
  },
  "operations beside a subscription are answered before it ends": async () => {
    const { client } = open();
    const id = await started(client);
    let hasEnded = false;
    const events = ask(client, EVENTS, { variables: { id } }).then(() => (hasEnded = true));
    const answer = await ask(client);
    const wasFirst = !hasEnded;
    await events;
    return wasFirst && is(answer, [TYPENAME]);
  },
  "who stops listening can go on asking": async () => {
    const { client } = open();
    const id = await started(client);
    for await (const _ of client.iterate({ query: EVENTS, variables: { id } })) break;
    return is(await ask(client), [TYPENAME]);
  },
  "a syntax error is told": async () =>
    (await wrong(open().client, { query: "{" })) === "GRAPHQL_PARSE_FAILED",
  "an invalid document is told": async () =>
    (await wrong(open().client, { query: "{ nothing }" })) === "GRAPHQL_VALIDATION_FAILED",
  "a missing variable is told": async () =>
    (await wrong(open().client, { query: EVENTS })) === "BAD_USER_INPUT",
  "an unknown operation is told": async () =>
    (await wrong(open().client, { query: "query A { __typename }", operationName: "B" })) ===
    "OPERATION_NOT_CHOSEN",
  "a bomb of fragments is told": async () => {
    const spreads = [...Array(30)].map(
      (_, n) => `fragment f${n} on Query { ...f${n + 1} ...f${n + 1} }`,
    );
    const query = `{ ...f0 } ${spreads.join(" ")} fragment f30 on Query { __typename }`;
    return (await wrong(open().client, { query })) === "TOO_MANY_ALIASES";
  },
  "what is not there cannot be followed": async () =>
    (await wrong(open().client, { query: EVENTS, variables: { id: "x" } })) === "NOT_FOUND",
  "an error leaves other operations alone": async () => {
    const { client, seen } = open({ lazyCloseTimeout: 1000 });
    const id = await started(client);
    const events = ask(client, EVENTS, { variables: { id } });
    await wrong(client, { query: "{" });
    return (await events).length === 8 && seen.opened === 1;
  },
  "an error in a field comes with its path": async () => {
    const [result] = await ask(open().client, "{ executions(first: 1000) { totalCount } }");
    return is(result.errors[0].path, ["executions"]) && result.data === null;
  },
  "extensions are ignored": async () =>
    is(await ask(open().client, "{ __typename }", { extensions: { any: 1 } }), [TYPENAME]),
  "any text comes back": async () => {
    const label = 'é "\u2028" \u{1F600} \\ \n';
    const [{ data }] = await ask(
      open().client,
      `mutation R($input: ExecuteCodeInput!) {
        executeCode(input: $input) { execution { label } errors { message } } }`,
      { variables: { input: { ...hello, label } } },
    );
    return data.executeCode.execution.label === label;
  },
  "a client's pings are answered": async () => {
    const { client, seen } = open({ lazy: false, keepAlive: 20 });
    await until(() => seen.pongs >= 3);
    await client.dispose();
    return true;
  },
  "ids can be anything short": async () => {
    const { client } = open({ generateID: () => "💡 {id}" });
    return is(await ask(client), [TYPENAME]) && is(await ask(client), [TYPENAME]);
  },
  "a lazy client that has all it wants says good-bye": async () => {
    const { client, seen } = open();
    await ask(client);
    await until(() => seen.closed.length === 1);
    return is(seen.closed, [1000]);
  },
  "a client can leave": async () => {
    const { client, seen } = open({ lazy: false });
    await until(() => seen.acknowledged === 1);
    await client.dispose();
    await until(() => seen.closed.length === 1);
    return is(seen.closed, [1000]);
  },
  "a client that is cut off comes back": async () => {
    const { client, seen } = open({ lazy: false, retryAttempts: 3, retryWait: async () => {} });
    await until(() => seen.acknowledged === 1);
    seen.sockets[0].terminate();
    await until(() => seen.acknowledged === 2);
    return is(await ask(client), [TYPENAME]);
  },
  "a message that is too long ends the socket and nothing else": async () => {
    const { client, seen } = open();
    const variables = { unused: "x".repeat(2 ** 20) };
    const error = await all(client, { query: "{ __typename }", variables }).catch((each) => each);
    await until(() => seen.closed.length === 1);
    return error.code === 1009 && is(await ask(open().client), [TYPENAME]);
  },
};

const results = {};
for (const [name, check] of Object.entries(checks)) {
  const patience = new Promise((resolve) => setTimeout(resolve, 5000, "took too long"));
  results[name] = await Promise.race([check().catch((error) => `${error}`), patience]);
}
tell(results);
