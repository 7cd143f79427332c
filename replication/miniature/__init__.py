"""The embedded miniature: a small model that shows the effects, and the recipe that made it."""
