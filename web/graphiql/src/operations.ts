/**
 * The tabs that a first visit opens, one for each file in ../operations, by name.
 *
 * Files and not strings, so that a test of the server can hold each against
 * schema.graphql. `x.json` holds the variables of `x.graphql`, if it takes any.
 */
import type { GraphiQL } from "graphiql";
import type { ComponentProps } from "react";

// The options stand here twice because vite reads them from the source.
const queries = import.meta.glob<string>("../operations/*.graphql", {
  query: "?raw",
  import: "default",
  eager: true,
});
const variables = import.meta.glob<string>("../operations/*.json", {
  query: "?raw",
  import: "default",
  eager: true,
});

type Tabs = NonNullable<ComponentProps<typeof GraphiQL>["defaultTabs"]>;

export const sampleTabs: Tabs = Object.keys(queries)
  .sort()
  .map((path) => ({
    query: queries[path] ?? null,
    variables: variables[path.replace(".graphql", ".json")] ?? null,
  }));
