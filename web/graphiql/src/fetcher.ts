import type { Fetcher, FetcherOpts, FetcherParams } from "@graphiql/toolkit";
import { type ExecutionResult, getOperationAST } from "graphql";
import { createClient } from "graphql-ws";

const ENDPOINT = "/graphql";

type Headers = Record<string, string>;

/** A socket says who it is when it opens, so other headers need another one. */
let socket = connect({});

function connect(headers: Headers) {
  const url = () => new URL(ENDPOINT, location.href.replace(/^http/, "ws")).href;
  return { client: createClient({ url, connectionParams: headers }), said: JSON.stringify(headers) };
}

/** Send one operation: by POST, or over a WebSocket when it subscribes. */
export const fetcher: Fetcher = (operation, options) => {
  const document = options?.documentAST;
  const kind = document && getOperationAST(document, operation.operationName)?.operation;
  return kind === "subscription" ? subscribe(operation, options) : post(operation, options);
};

function subscribe({ query, variables, operationName }: FetcherParams, options?: FetcherOpts) {
  const headers = (options?.headers ?? {}) as Headers;
  if (socket.said !== JSON.stringify(headers)) socket = connect(headers);
  const results = socket.client.iterate<Record<string, unknown>>({
    query,
    variables: (variables ?? {}) as Record<string, unknown>,
    operationName,
  });
  // As they come over the wire: errors are objects of no class.
  return results as AsyncIterable<ExecutionResult>;
}

async function post(operation: FetcherParams, options?: FetcherOpts): Promise<object> {
  const response = await fetch(ENDPOINT, {
    method: "POST",
    headers: {
      Accept: "application/graphql-response+json, application/json;q=0.9",
      "Content-Type": "application/json",
      ...options?.headers,
    },
    body: JSON.stringify(operation),
  });
  return read(response);
}

/** A GraphQL error is JSON whatever its HTTP status; what a proxy or a crash says is not. */
async function read(response: Response): Promise<object> {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    const message = `The server answered ${response.status} ${response.statusText} and no JSON: ${text.slice(0, 500)}`;
    return { errors: [{ message }] };
  }
}
