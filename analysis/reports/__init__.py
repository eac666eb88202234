"""What a result looks like: tables, loop nests, plots, pages; pictures of many designs."""
