// graphql-ws: any operation over one WebSocket.
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { EVENTS, RUN, WRONG, hello, slow, summary, tell, ws } from "./common.js";

const client = createClient({ url: ws, webSocketImpl: WebSocket, keepAlive: 200 });

async function all(query, variables) {
  const results = [];
  for await (const result of client.iterate({ query, variables })) results.push(result);
  return results;
}

const [mutation] = await all(RUN, { input: hello });
const started = (await all(RUN, { input: slow }))[0].data.executeCode.execution;
const events = (await all(EVENTS, { id: started.id })).map(({ data }) => data.executionEvents);
const wrong = await all(WRONG).catch((errors) => errors[0].message);
const early = [];
for await (const { data } of client.iterate({ query: EVENTS, variables: { id: started.id } })) {
  early.push(data.executionEvents.sequence);
  if (early.length === 2) break;
}
const afterwards = await all("{ __typename }");
await client.dispose();
tell({ mutation, events: summary(events), wrong, early, afterwards });
