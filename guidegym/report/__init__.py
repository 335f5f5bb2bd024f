"""Reports: pictures, tables, pages."""
