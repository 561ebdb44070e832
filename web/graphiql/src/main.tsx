// Where Monaco finds its workers; must run before an editor exists.
import "graphiql/setup-workers/vite";
// Not graphiql/style.css: that one repeats Monaco's styles, which Monaco itself brings.
import "@graphiql/react/style.css";
import "@graphiql/plugin-doc-explorer/style.css";
import "@graphiql/plugin-history/style.css";
import "graphiql/graphiql.css";
import "./style.css";

import { GraphiQL } from "graphiql";
import { createRoot } from "react-dom/client";

import { fetcher } from "./fetcher";
import { sampleTabs } from "./operations";

const root = document.getElementById("graphiql");
if (!root) throw new Error("index.html has no element with the id `graphiql`");

createRoot(root).render(
  // Variables are open from the start: several samples are of no use without them.
  <GraphiQL
    fetcher={fetcher}
    defaultTabs={sampleTabs}
    defaultEditorToolsVisibility="variables"
    inputValueDeprecation
    schemaDescription
  >
    <GraphiQL.Logo>Greenroom</GraphiQL.Logo>
  </GraphiQL>,
);
