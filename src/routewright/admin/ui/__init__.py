"""The pages at `/ui`: rendered here, without a build step and without anything from another site."""
