// graphql-sse: Server-Sent Events, a connection for each operation.
import { createClient } from "graphql-sse";
import { EVENTS, RUN, WRONG, hello, http, slow, summary, tell } from "./common.js";

const client = createClient({ url: http, retryAttempts: 0 });

async function all(query, variables) {
  const results = [];
  for await (const result of client.iterate({ query, variables })) results.push(result);
  return results;
}

const [mutation] = await all(RUN, { input: hello });
const started = (await all(RUN, { input: slow }))[0].data.executeCode.execution;
const events = (await all(EVENTS, { id: started.id })).map(({ data }) => data.executionEvents);
const [wrong] = await all(WRONG);
client.dispose();
tell({ mutation, events: summary(events), wrong: wrong.errors[0].message });
