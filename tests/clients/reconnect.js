// graphql-ws: cut off a hundred times during one run, and come back with the last number.
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { EVENTS, argument, tell, ws } from "./common.js";

const events = [];
let connections = 0;
const isOver = () => events.at(-1)?.__typename === "ExecutionFinished";

while (!isOver()) {
  connections += 1;
  const sockets = [];
  class Cut extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  const client = createClient({ url: ws, webSocketImpl: Cut, retryAttempts: 0 });
  const after = events.at(-1)?.sequence ?? 0;
  try {
    for await (const { data } of client.iterate({
      query: EVENTS,
      variables: { id: argument, after },
    })) {
      events.push(data.executionEvents);
      // While it is being read, without a good-bye.
      if (connections <= 100) sockets[0].terminate();
      if (connections <= 100) break;
    }
  } catch {
    // cut off
  }
}
tell({
  connections,
  sequences: events.map((event) => event.sequence),
  text: events.map((event) => event.text ?? "").join(""),
});
