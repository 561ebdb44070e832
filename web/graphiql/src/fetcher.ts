import type { Fetcher, FetcherOpts, FetcherParams } from "@graphiql/toolkit";

const ENDPOINT = "/graphql";

/**
 * Send one operation and answer with its result.
 *
 * A subscription will need its own way: return an AsyncIterable when
 * `options.documentAST` holds one, and GraphiQL does the rest.
 */
export const post = (async (operation: FetcherParams, options?: FetcherOpts) => {
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
}) satisfies Fetcher;

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
