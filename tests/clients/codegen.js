// @graphql-codegen: types for `typed.ts`, from the committed schema.
export default {
  schema: "./schema.graphql",
  documents: "./typed.graphql",
  generates: {
    "./generated.ts": {
      plugins: ["typescript-operations", "typed-document-node"],
      config: {
        strictScalars: true,
        enumsAsTypes: true,
        useTypeImports: true,
        scalars: { BigInt: "number", DateTime: "string", JSON: "unknown" },
      },
    },
    "./possible-types.ts": { plugins: ["fragment-matcher"], config: { useExplicitTyping: true } },
  },
};
