"""Research: recipes compared on splits and seeds, and the pictures of the documents. Imports the package, never the
other way round."""
