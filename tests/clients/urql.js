// urql: queries by GET, mutations by POST, subscriptions as Server-Sent Events and over WebSocket.
import { Client, fetchExchange, subscriptionExchange } from "@urql/core";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { EVENTS, PAGE, RUN, WRONG, hello, http, slow, summary, tell, ws } from "./common.js";

const methods = [];
function watched(url, options) {
  methods.push(options?.method ?? "GET");
  return fetch(url, options);
}
const plain = new Client({
  url: http,
  exchanges: [fetchExchange],
  fetchSubscriptions: true,
  preferGetMethod: true,
  fetch: watched,
});
const socket = createClient({ url: ws, webSocketImpl: WebSocket });
const overSocket = new Client({
  url: http,
  exchanges: [
    fetchExchange,
    subscriptionExchange({
      forwardSubscription: (operation) => ({
        subscribe: (sink) => ({
          unsubscribe: socket.subscribe({ ...operation, query: operation.query ?? "" }, sink),
        }),
      }),
    }),
  ],
});

function follow(client, id) {
  return new Promise((resolve, reject) => {
    const events = [];
    client.subscription(EVENTS, { id }).subscribe((result) => {
      if (result.error) reject(result.error);
      // urql tells the last result of a stream once more, to say that none follows.
      else if (result.hasNext) events.push(result.data.executionEvents);
      if (events.at(-1)?.__typename === "ExecutionFinished") resolve(events);
    });
  });
}

const mutation = await plain.mutation(RUN, { input: { ...hello, label: "urql" } });
const page = await plain.query(PAGE, { first: 1, filter: { label: "urql" } });
const wrong = await plain.query(WRONG, {});
const started = (await plain.mutation(RUN, { input: slow })).data.executeCode.execution;
const [sse, webSocket] = await Promise.all([
  follow(plain, started.id),
  follow(overSocket, started.id),
]);
tell({
  mutation: { data: mutation.data },
  page: page.data,
  wrong: wrong.error.graphQLErrors[0].message,
  events: summary(sse),
  socketEvents: summary(webSocket),
  methods,
});
