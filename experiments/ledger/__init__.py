"""The claims of docs/claims.md, each with the experiment that tests it."""
