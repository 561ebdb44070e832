import { defineConfig, type Plugin } from "vite";

/**
 * Notices that vite's list of licences leaves out: it does not look into the
 * workers, and of a package it takes only the file LICENSE.
 */
const FURTHER_NOTICES = {
  "licenses/monaco-editor.txt": "node_modules/monaco-editor/ThirdPartyNotices.txt",
  "licenses/picomatch-browser.txt": "node_modules/picomatch-browser/LICENSE",
};

function furtherNotices(): Plugin {
  return {
    name: "further-notices",
    async generateBundle() {
      for (const [fileName, path] of Object.entries(FURTHER_NOTICES)) {
        const source = await this.fs.readFile(path, { encoding: "utf8" });
        this.emitFile({ type: "asset", fileName, source });
      }
    },
  };
}

export default defineConfig({
  // The page is served at /graphql, so a relative address would look for its assets there.
  base: "/graphiql/",
  plugins: [furtherNotices()],
  resolve: {
    alias: {
      // GraphiQL tidies variables with a whole JavaScript formatter; ours is 0.5 MB smaller.
      "prettier/parser-babel": "/src/jsonc-formatter.ts",
      "prettier/plugins/estree": "/src/jsonc-formatter.ts",
      // Two names of one file, which would be built twice.
      "prettier/parser-graphql": "prettier/plugins/graphql",
    },
  },
  build: {
    outDir: "../../app/api/graphiql",
    emptyOutDir: true,
    license: { fileName: "licenses/packages.md" },
    // The polyfill is for browsers that cannot run this page anyway.
    modulePreload: { polyfill: false },
    // Monaco is one piece of 2.8 MB by nature.
    chunkSizeWarningLimit: 3000,
    // Eighty times "use client", a word to servers that render React.
    rolldownOptions: { checks: { moduleLevelDirective: false } },
  },
  // Classic workers cannot load chunks; every browser of today runs module workers.
  worker: { format: "es" },
});
