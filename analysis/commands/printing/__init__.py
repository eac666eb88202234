"""What commands print: tables, lists, remarks, progress."""
