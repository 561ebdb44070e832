// graphql-http: every audit of GraphQL over HTTP that it has.
import { serverAudits } from "graphql-http";
import { http, tell } from "./common.js";

const results = [];
for (const audit of serverAudits({ url: http, fetchFn: fetch })) {
  const { status, reason } = await audit.fn();
  results.push({ id: audit.id, name: audit.name, status, reason });
}
tell({ results });
