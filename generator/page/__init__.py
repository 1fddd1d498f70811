"""`ts-template start`: a local page that asks, and shows at once what comes of the answers."""
