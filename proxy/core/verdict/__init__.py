"""Evidence becomes a verdict (`judge`), verdicts decide what to ask (`plan`, `budget`) and what to keep (`settle`, `guard`)."""
