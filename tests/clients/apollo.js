// Apollo Client: relayStylePagination, mutations, subscriptions over WebSocket and as multipart.
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { relayStylePagination } from "@apollo/client/utilities";
import { OperationTypeNode } from "graphql";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { EVENTS, PAGE, RUN, WRONG, hello, http, slow, submit, summary, tell, ws } from "./common.js";

const cache = () =>
  new InMemoryCache({
    possibleTypes: {
      ExecutionEvent: [
        "ExecutionStatusChanged",
        "ExecutionOutput",
        "ExecutionTestFinished",
        "ExecutionFinished",
      ],
    },
    typePolicies: {
      Query: { fields: { executions: relayStylePagination(["filter", "orderBy"]) } },
    },
  });
const httpLink = new HttpLink({ uri: http });
const wsLink = new GraphQLWsLink(createClient({ url: ws, webSocketImpl: WebSocket }));
const client = new ApolloClient({
  cache: cache(),
  link: ApolloLink.split(
    ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
    wsLink,
    httpLink,
  ),
});
const overHttp = new ApolloClient({ cache: cache(), link: httpLink });

function follow(through, id) {
  return new Promise((resolve, reject) => {
    const events = [];
    through.subscribe({ query: gql(EVENTS), variables: { id } }).subscribe({
      next: (result) => {
        if (result.error) reject(result.error);
        else events.push(result.data.executionEvents);
      },
      error: reject,
      complete: () => resolve(events),
    });
  });
}

const run = (input) => client.mutate({ mutation: gql(RUN), variables: { input } });
const mutation = await run({ ...hello, label: "apollo" });
for (let count = 0; count < 4; count += 1) await run({ ...hello, label: "apollo" });

const filter = { label: "apollo" };
const pages = client.watchQuery({ query: gql(PAGE), variables: { first: 2, filter } });
await new Promise((resolve) => {
  pages.subscribe((result) => {
    if (!result.loading) resolve();
  });
});
let page = pages.getCurrentResult().data.executions.pageInfo;
while (page.hasNextPage) {
  const more = await pages.fetchMore({ variables: { after: page.endCursor } });
  page = more.data.executions.pageInfo;
}
// What its cache has made of the pages.
const { executions } = client.readQuery({ query: gql(PAGE), variables: { first: 2, filter } });
const wrong = await client.query({ query: gql(WRONG) }).catch((error) => error.errors[0].message);
const started = (await run(slow)).data.executeCode.execution;
const [socket, multipart] = await Promise.all([
  follow(client, started.id),
  follow(overHttp, started.id),
]);
const submitted = (await run(submit)).data.executeCode.execution;
const submission = await follow(client, submitted.id);
tell({
  mutation: { data: mutation.data },
  labels: executions.edges.map(({ node }) => node.label),
  unique: new Set(executions.edges.map(({ node }) => node.id)).size,
  wrong,
  events: summary(socket),
  multipartEvents: summary(multipart),
  submission: summary(submission),
});
