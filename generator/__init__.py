"""ts-template's generator: renders projects from the template beside it, and checks them."""
